# No pin of the programmable logic is used, and the clocks come with the IP.
set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]
