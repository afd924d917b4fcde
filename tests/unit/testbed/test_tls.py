"""Certificates of a testbed's hosts: made once, renewed in time, never another testbed's."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from slicebed.errors import ProvisionError
from slicebed.testbed.tls import AUTHORITY_DAYS, HOST_DAYS, RENEW_DAYS, authority_folder, host_certificate

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def days(number):
    return timedelta(days=number)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shake_hands(server, client, expected):
    """The name that the server learns of the client, or the error of whoever refuses."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.verify_mode = ssl.CERT_REQUIRED
    served.load_verify_locations(server.authority)
    served.load_cert_chain(server.certificate, server.key)
    asking = ssl.create_default_context(cafile=str((client or server).authority))
    if client is not None:
        asking.load_cert_chain(client.certificate, client.key)
    near, far = socket.socketpair()
    near.settimeout(5)
    far.settimeout(5)
    learned = []

    def serve():
        try:
            with served.wrap_socket(far, server_side=True) as stream:
                learned.append(dict(pair[0] for pair in stream.getpeercert()["subject"])["commonName"])
                stream.sendall(b"x")
        except OSError as error:
            learned.append(error)
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with asking.wrap_socket(near, server_hostname=expected) as stream:
            stream.recv(1)
    except OSError as error:
        learned.append(error)
        near.close()
    thread.join()
    return learned[0] if len(learned) == 1 else next(each for each in learned if isinstance(each, OSError))


def test_hosts_of_one_testbed_know_each_other_by_name(tmp_path):
    edge, cloud = (host_certificate(tmp_path / "a", host) for host in ("edge", "cloud"))
    assert shake_hands(edge, cloud, "edge") == "cloud"
    assert shake_hands(cloud, edge, "cloud") == "edge"
    assert isinstance(shake_hands(edge, cloud, "client"), ssl.SSLError)


def test_a_stranger_is_refused(tmp_path):
    edge = host_certificate(tmp_path / "a", "edge")
    assert isinstance(shake_hands(edge, host_certificate(tmp_path / "b", "cloud"), "edge"), ssl.SSLError)
    assert isinstance(shake_hands(edge, None, "edge"), ssl.SSLError)


def test_the_second_time_nothing_changes(tmp_path):
    folder = tmp_path / "a"
    first = host_certificate(folder, "edge", now=NOW)
    before = contents(folder)
    again = host_certificate(folder, "edge", now=NOW + days(HOST_DAYS - RENEW_DAYS - 1))
    assert (first.changed, again.changed) == (True, False)
    assert first.fingerprint == again.fingerprint
    assert contents(folder) == before


def test_only_the_owner_can_read_what_is_private(tmp_path):
    folder = tmp_path / "a"
    host_certificate(folder, "edge")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o600}


def test_a_certificate_is_renewed_in_time_by_the_same_authority(tmp_path):
    folder = tmp_path / "a"
    first, other = host_certificate(folder, "edge", now=NOW), host_certificate(folder, "cloud", now=NOW)
    authority = first.authority.read_bytes()
    late = NOW + days(HOST_DAYS - RENEW_DAYS)
    renewed = host_certificate(folder, "edge", now=late)
    assert renewed.changed
    assert renewed.fingerprint != first.fingerprint
    assert renewed.authority.read_bytes() == authority
    assert x509.load_pem_x509_certificate(renewed.certificate.read_bytes()).not_valid_after_utc == late + days(
        HOST_DAYS
    )
    assert not host_certificate(folder, "cloud", now=NOW).changed
    assert other.fingerprint == host_certificate(folder, "cloud", now=NOW).fingerprint


def test_an_authority_that_ends_takes_every_certificate_along(tmp_path):
    folder = tmp_path / "a"
    late = NOW + days(AUTHORITY_DAYS - RENEW_DAYS - 1)
    host_certificate(folder, "edge", now=NOW)
    cut_short = host_certificate(folder, "edge", now=late - days(1))
    ends = x509.load_pem_x509_certificate(cut_short.authority.read_bytes()).not_valid_after_utc
    assert x509.load_pem_x509_certificate(cut_short.certificate.read_bytes()).not_valid_after_utc == ends
    before = cut_short.authority.read_bytes()
    assert host_certificate(folder, "edge", now=late + days(1)).changed
    assert cut_short.authority.read_bytes() != before


def test_a_folder_that_was_deleted_is_a_new_authority(tmp_path):
    folder = tmp_path / "a"
    first = host_certificate(folder, "edge")
    first.authority.unlink()
    again = host_certificate(folder, "edge")
    assert again.changed
    assert again.fingerprint != first.fingerprint


def test_another_hosts_certificate_in_its_place_is_replaced(tmp_path):
    folder = tmp_path / "a"
    edge, cloud = (host_certificate(folder, host) for host in ("edge", "cloud"))
    for mine, other in ((edge.certificate, cloud.certificate), (edge.key, cloud.key)):
        mine.write_bytes(other.read_bytes())
    assert host_certificate(folder, "edge").changed
    assert shake_hands(host_certificate(folder, "edge"), cloud, "edge") == "cloud"


def test_a_check_makes_nothing(tmp_path):
    folder = tmp_path / "a"
    planned = host_certificate(folder, "edge", check=True)
    assert (planned.changed, planned.fingerprint, folder.exists()) == (True, None, False)
    host_certificate(folder, "edge", now=NOW)
    before = contents(folder)
    assert not host_certificate(folder, "edge", check=True, now=NOW).changed
    assert host_certificate(folder, "edge", check=True, now=NOW + days(HOST_DAYS)).changed
    assert host_certificate(folder, "edge", check=True, now=NOW + days(AUTHORITY_DAYS)).changed
    assert host_certificate(folder, "cloud", check=True, now=NOW).fingerprint is None
    assert contents(folder) == before


def test_hosts_that_come_at_once_get_one_authority(tmp_path):
    folder = tmp_path / "a"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: host_certificate(folder, f"host{number}"), range(8)))
    assert shake_hands(made[0], made[7], "host0") == "host7"


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem", "edge/cert.pem", "edge/key.pem"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, name):
    folder = tmp_path / "a"
    host_certificate(folder, "edge")
    (folder / name).write_bytes(b"-----BEGIN NOTHING-----\n")
    with pytest.raises(ProvisionError, match=r"move the folder away and deploy again") as caught:
        host_certificate(folder, "edge")
    assert str(folder / name).rpartition("/")[0] in str(caught.value)


def test_testbeds_have_folders_of_their_own_below_the_users_state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    here, there = authority_folder("/srv/a/hosts.yml"), authority_folder("/srv/b/hosts.yml")
    assert here != there
    assert here.parent == tmp_path / "slicebed" / "tls"
    assert here.name.startswith("srv-a-hosts-yml-")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert authority_folder("x").parent == tmp_path / "home/.local/state/slicebed/tls"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProvisionError, match=r"certificates cannot be kept.*XDG_STATE_HOME"):
        host_certificate(tmp_path / "file" / "a", "edge")
