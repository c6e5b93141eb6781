# Pins of the kit with its DDR4 HiLo card, after the vendor's reference designs for it.

proc pins {name list} {
    set bit 0
    foreach pin $list {
        set_location_assignment PIN_$pin -to "$name\[$bit\]"
        incr bit
    }
}
proc pin {name pin} { set_location_assignment PIN_$pin -to $name }
proc standard {name value} { set_instance_assignment -name IO_STANDARD $value -to $name }

# Reset button, PCIe's reset.
pin reset_n BD27
standard reset_n "1.8 V"
pin pcie_rstn_pin_perst BC30
standard pcie_rstn_pin_perst "1.8 V"

# PCIe: reference clock and eight lanes.
pin pcie_refclk_clk AL37
pin "pcie_refclk_clk(n)" AL38
standard pcie_refclk_clk LVDS
pins pcie_rx {AT40 AP40 AN42 AM40 AL42 AK40 AJ42 AH40}
pins pcie_tx {BB44 BA42 AY44 AW42 AV44 AU42 AT44 AR42}
for {set lane 0} {$lane < 8} {incr lane} {
    standard "pcie_rx\[$lane\]" CML
    standard "pcie_tx\[$lane\]" "HSSI DIFFERENTIAL I/O"
    set_instance_assignment -name XCVR_VCCR_VCCT_VOLTAGE 1_0V -to "pcie_rx\[$lane\]"
    set_instance_assignment -name XCVR_VCCR_VCCT_VOLTAGE 1_0V -to "pcie_tx\[$lane\]"
}

# Memory: standards and terminations come with the IP.
pin memory_clock_clk F34
pin "memory_clock_clk(n)" F35
standard memory_clock_clk LVDS
pin memory_oct_oct_rzqin J34
pins mem_ck R30
pins mem_ck_n R31
pins mem_a {M32 L32 N34 M35 L34 K34 M33 L33 J33 J32 H31 J31 H34 H33 G32 E32 F32}
pins mem_act_n P34
pins mem_ba {F33 G35}
pins mem_bg H35
pins mem_cke U33
pins mem_cs_n R34
pins mem_odt N33
pins mem_reset_n T35
pins mem_par T32
pins mem_alert_n E35
pins mem_dqs {B26 H28 C30 L30 Y32 AJ32 AA34 AF33}
pins mem_dqs_n {C26 J27 C29 L29 AA32 AJ31 AA33 AF34}
pins mem_dbi_n {E26 G27 A29 F30 AB32 AG31 Y35 AC34}
pins mem_dq {
    B28 A28 A27 B27 D27 E27 D26 D28
    G25 H25 G26 H26 G28 F27 K27 F28
    D31 E31 B31 C31 A30 E30 B30 D29
    K30 H30 G30 K31 H29 K29 J29 F29
    AC31 AB31 W31 Y31 AD31 AD32 AD33 AA30
    AE31 AE32 AE30 AF30 AG33 AG32 AH33 AH31
    U31 W33 W32 V31 Y34 W35 W34 V34
    AH35 AJ34 AJ33 AH34 AD35 AE34 AC33 AD34
}
