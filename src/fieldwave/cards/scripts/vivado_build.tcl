# The whole project, from sources to bitstream:
#
#     vivado -mode batch -source build.tcl                  everything
#     vivado -mode batch -source build.tcl -tclargs design  only the block design, checked by Vivado
#
# What differs between cards is in parameters.tcl.

set here [file dirname [file normalize [info script]]]
source $here/parameters.tcl
set goal [expr {[info exists argv] && [llength $argv] ? [lindex $argv 0] : "bitstream"}]
if {$goal ni {design bitstream}} { error "build.tcl: a goal is design or bitstream, not $goal" }

create_project -force $project_name $here/build -part $part
set_property board_part $board_part [current_project]
if {$board_connections ne ""} { set_property board_connections $board_connections [current_project] }
set_property target_language Verilog [current_project]
foreach source $sources { add_files -norecurse $here/$source }
add_files -fileset constrs_1 -norecurse $here/constraints.xdc
update_compile_order -fileset sources_1

create_bd_design system
source $here/system.tcl
validate_bd_design
save_bd_design
if {$goal eq "design"} { puts "block design checked"; return }

set design [get_files system.bd]
add_files -norecurse [make_wrapper -files $design -top]
set_property top system_wrapper [current_fileset]
update_compile_order -fileset sources_1

launch_runs synth_1 -jobs 4
wait_on_run synth_1
if {[get_property PROGRESS [get_runs synth_1]] ne "100%"} { error "synthesis failed: build/*.runs/synth_1" }
# Nets of thousands of loads, and long ways between them.
set_property strategy Performance_ExplorePostRoutePhysOpt [get_runs impl_1]
launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
if {[get_property PROGRESS [get_runs impl_1]] ne "100%"} { error "implementation failed: build/*.runs/impl_1" }

open_run impl_1
file mkdir $here/reports
report_timing_summary -file $here/reports/timing.rpt
report_utilization -hierarchical -hierarchical_depth 4 -file $here/reports/utilization.rpt
report_power -file $here/reports/power.rpt
report_drc -file $here/reports/drc.rpt
set slack [get_property STATS.WNS [get_runs impl_1]]
puts "worst slack $slack ns at $npu_megahertz MHz"
if {$slack < 0} { error "timing is not met by [expr {-$slack}] ns: a lower npu_megahertz in parameters.tcl" }
write_hw_platform -fixed -force -include_bit -file $here/$project_name.xsa
