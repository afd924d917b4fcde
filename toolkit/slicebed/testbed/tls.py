"""A testbed's certificate authority on the control machine, and the certificate of every host: made, kept, renewed.

Agents know each other by these alone: who has a certificate of the authority is of the testbed, and its name says which
host it is. Nothing of it is in a checkout or in results; the private keys are readable by their owner alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from slicebed.errors import ProvisionError
from slicebed.testbed.checkout import state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DAY = timedelta(days=1)
AUTHORITY_DAYS, HOST_DAYS, RENEW_DAYS = 3650, 825, 30
_MEND = "move the folder away and deploy again: every host of the testbed gets a new certificate"
_Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class HostCertificate:
    """Where a host's files are on the control machine.

    Attributes:
        authority: the certificate of the testbed's authority, PEM.
        certificate: the host's, PEM.
        key: the host's private key, PEM.
        fingerprint: SHA-256 of both certificates; None when they are not there yet (a check).
        changed: whether they were, or in a check would be, made anew.
    """

    authority: Path
    certificate: Path
    key: Path
    fingerprint: str | None
    changed: bool


@dataclass(frozen=True)
class _Pair:
    certificate: x509.Certificate
    key: _Key


def authority_folder(testbed: str) -> Path:
    """Where the authority of a testbed lives: below ``$XDG_STATE_HOME/slicebed/tls``, ~/.local/state by default.

    Args:
        testbed: whatever tells testbeds apart, such as the inventory's absolute path.
    """
    readable = re.sub(r"[^A-Za-z0-9]+", "-", testbed).strip("-")[-40:]
    return state_folder() / "tls" / f"{readable}-{hashlib.sha256(testbed.encode()).hexdigest()[:12]}"


def host_certificate(folder: Path, host: str, *, check: bool = False, now: datetime | None = None) -> HostCertificate:
    """Give a host's certificate, of the testbed's authority; what is missing, ending or another host's is made anew.

    Args:
        folder: of the testbed, as `authority_folder` gives it; made when it is missing.
        host: its name in the inventory, which is the certificate's CN and SAN.
        check: only say what would change.
        now: default: the present.

    Raises:
        ProvisionError: a file there is damaged or cannot be read or written.
    """
    moment = now or datetime.now(UTC)
    files = HostCertificate(
        folder / "ca.pem", folder / host / "cert.pem", folder / host / "key.pem", None, changed=True
    )
    try:
        if check and not folder.is_dir():
            return files
        with _locked(folder):
            authority, made = _authority(folder, moment, check=check)
            if authority is None:
                return files
            pair = _read(files.certificate, files.key)
            if pair is None or not _is_good(pair, authority, host, moment):
                made = True
                if not check:
                    _write(files.certificate, files.key, _issue(host, moment, authority))
            return HostCertificate(files.authority, files.certificate, files.key, _fingerprint(files), changed=made)
    except OSError as error:
        raise ProvisionError(
            f"certificates cannot be kept: {error.strerror}",
            where=str(error.filename or folder),
            mend="make it writable, or set XDG_STATE_HOME to a folder that is",
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Ansible's forks come for several hosts at once; there is one authority."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _authority(folder: Path, now: datetime, *, check: bool) -> tuple[_Pair | None, bool]:
    """Give the authority and whether it was made anew; in a check None where it would be."""
    certificate, key = folder / "ca.pem", folder / "ca-key.pem"
    pair = _read(certificate, key)
    if pair is not None and _belong_together(pair) and pair.certificate.not_valid_after_utc - now > RENEW_DAYS * _DAY:
        return pair, False
    if check:
        return None, True
    pair = _issue(f"slicebed {folder.name}"[:64], now, None)
    _write(certificate, key, pair)
    return pair, True


def _is_good(pair: _Pair, authority: _Pair, host: str, now: datetime) -> bool:
    certificate = pair.certificate
    try:
        certificate.verify_directly_issued_by(authority.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return (
        _belong_together(pair)
        and certificate.subject == _name(host)
        and names.get_values_for_type(x509.DNSName) == [host]
        and certificate.not_valid_after_utc - now > RENEW_DAYS * _DAY
    )


def _belong_together(pair: _Pair) -> bool:
    return pair.certificate.public_key() == pair.key.public_key()


def _issue(name: str, now: datetime, authority: _Pair | None) -> _Pair:
    """Make a host's certificate, or without an authority one that signs itself and then others."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = _name(name) if authority is None else authority.certificate.subject
    signing_key = key if authority is None else authority.key
    end = now + (AUTHORITY_DAYS if authority is None else HOST_DAYS) * _DAY
    if authority is not None:
        end = min(end, authority.certificate.not_valid_after_utc)
    signs = authority is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A host whose clock is behind takes it as well.
        .not_valid_before(now - _DAY)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=signs, path_length=0 if signs else None), critical=True)
        .add_extension(_usage(signs=signs), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
    )
    if authority is not None:
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        builder = builder.add_extension(both, critical=False)
    return _Pair(builder.sign(signing_key, SHA256()), key)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _read(certificate: Path, key: Path) -> _Pair | None:
    try:
        held, secret = certificate.read_bytes(), key.read_bytes()
    except FileNotFoundError:
        return None
    try:
        loaded = load_pem_private_key(secret, None)
        if isinstance(loaded, _Key):
            return _Pair(x509.load_pem_x509_certificate(held), loaded)
        what = "is not a key of an elliptic curve"
    except (ValueError, TypeError):
        what = "is damaged: no certificate with its private key"
    raise ProvisionError(what, where=str(key), mend=_MEND)


def _write(certificate: Path, key: Path, pair: _Pair) -> None:
    certificate.parent.mkdir(exist_ok=True, mode=0o700)
    # The certificate last: with one that is there, the key is.
    secret = pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for path, content in ((key, secret), (certificate, pair.certificate.public_bytes(Encoding.PEM))):
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        partial.replace(path)


def _fingerprint(files: HostCertificate) -> str | None:
    if not files.certificate.exists():
        return None
    return hashlib.sha256(files.authority.read_bytes() + files.certificate.read_bytes()).hexdigest()
