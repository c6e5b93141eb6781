# The clocks of the pins; those of PCIe and memory come with the IP.
create_clock -name pcie_refclk -period 10.000 [get_ports pcie_refclk_clk]
create_clock -name memory_refclk -period 7.500 [get_ports memory_clock_clk]
derive_pll_clocks
derive_clock_uncertainty

# Resets have no clock.
set_false_path -from [get_ports {reset_n pcie_rstn_pin_perst}]
