# Pins, and the clocks of PCIe and memory, come with the board file and the IP.

# The card's configuration flash.
set_property CONFIG_VOLTAGE 1.8 [current_design]
set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]
set_property BITSTREAM.CONFIG.SPI_BUSWIDTH 4 [current_design]
set_property BITSTREAM.CONFIG.CONFIGRATE 85.0 [current_design]

# The host's reset has no clock; the interrupt passes through two registers (synchronizer.v).
set_false_path -from [get_ports pcie_perstn]
set_false_path -to [get_pins -hierarchical -filter {NAME =~ *irq_synchronizer/*/stage_reg[0]/D}]
