/*
 * Gives both processors of QEMU's "pc" machine the P-states of the paper's Table 2, so that acpi-cpufreq drives them.
 * Port 0x80 (the POST code port) takes any write and, under QEMU, changes nothing: the kernel's bookkeeping is real, the clock is not.
 */
DefinitionBlock ("cpufreq.aml", "SSDT", 2, "SLICEB", "CPUFREQ", 0x00000001)
{
    External (\_SB.CPUS.C000, ProcessorObj)
    External (\_SB.CPUS.C001, ProcessorObj)

    Scope (\_SB)
    {
        /* MHz, mW, latency in us (twice), value written, value read back */
        Name (PSTA, Package ()
        {
            Package () { 3500, 35000, 10, 10, 0x00, 0x00 },
            Package () { 3100, 31000, 10, 10, 0x01, 0x01 },
            Package () { 3000, 30000, 10, 10, 0x02, 0x02 },
            Package () { 2000, 20000, 10, 10, 0x03, 0x03 }
        })
        Name (PCTL, Package ()
        {
            ResourceTemplate () { Register (SystemIO, 8, 0, 0x80) },
            ResourceTemplate () { Register (SystemIO, 8, 0, 0x80) }
        })
    }

    Scope (\_SB.CPUS.C000)
    {
        Method (_PPC) { Return (Zero) }
        Method (_PCT) { Return (\_SB.PCTL) }
        Method (_PSS) { Return (\_SB.PSTA) }
    }

    Scope (\_SB.CPUS.C001)
    {
        Method (_PPC) { Return (Zero) }
        Method (_PCT) { Return (\_SB.PCTL) }
        Method (_PSS) { Return (\_SB.PSTA) }
    }
}
