// A level from another clock, two registers later.
module synchronizer (
    (* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 clk CLK" *)
    input wire clk,
    input wire level,
    output wire synchronized
);
    (* ASYNC_REG = "TRUE" *) reg [1:0] stage;
    always @(posedge clk) stage <= {stage[0], level};
    assign synchronized = stage[1];
endmodule
