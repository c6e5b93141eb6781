// What a DSP48E2 does, as far as packed_products.v asks for it: P = (A + D) x B, with any of its pipeline registers.
// For lint and simulation only; vendor tools have the real one. After AMD UG579 and UG974.
module DSP48E2 #(
    parameter integer ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1,
    parameter integer CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1,
    parameter AMULTSEL = "A", BMULTSEL = "B", PREADDINSEL = "A", A_INPUT = "DIRECT", B_INPUT = "DIRECT",
    parameter USE_MULT = "MULTIPLY", USE_PATTERN_DETECT = "NO_PATDET", USE_SIMD = "ONE48"
) (
    input CLK,
    input signed [29:0] A,
    input signed [17:0] B,
    input [47:0] C,
    input signed [26:0] D,
    input [29:0] ACIN,
    input [17:0] BCIN,
    input [47:0] PCIN,
    input [3:0] ALUMODE,
    input [4:0] INMODE,
    input [8:0] OPMODE,
    input [2:0] CARRYINSEL,
    input CARRYCASCIN, CARRYIN, MULTSIGNIN,
    input CEA1, CEA2, CEAD, CEALUMODE, CEB1, CEB2, CEC, CECARRYIN, CECTRL, CED, CEINMODE, CEM, CEP,
    input RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
    output signed [47:0] P
);
    // The modes that are modelled; a register of a mode would only delay what is constant.
    always @(posedge CLK)
        if (AMULTSEL != "AD" || BMULTSEL != "B" || PREADDINSEL != "A" || A_INPUT != "DIRECT" || B_INPUT != "DIRECT"
            || USE_MULT != "MULTIPLY" || USE_PATTERN_DETECT != "NO_PATDET" || USE_SIMD != "ONE48"
            || INMODE != 5'b00100 || OPMODE != 9'b000000101 || ALUMODE != 4'b0000 || CARRYINSEL != 3'b000 || CARRYIN
            || AREG > 1 || BREG > 1 || ACASCREG != AREG || BCASCREG != BREG) begin
            $display("DSP48E2: a mode that this model does not have");
            $finish;
        end

    reg signed [26:0] a_kept = 0, d_kept = 0, ad_kept = 0;
    reg signed [17:0] b_kept = 0;
    reg signed [44:0] m_kept = 0;
    reg signed [47:0] p_kept = 0;
    wire signed [26:0] a = AREG != 0 ? a_kept : A[26:0];
    wire signed [26:0] d = DREG != 0 ? d_kept : D;
    wire signed [26:0] sum = a + d;
    wire signed [26:0] ad = ADREG != 0 ? ad_kept : sum;
    wire signed [17:0] b = BREG != 0 ? b_kept : B;
    wire signed [44:0] product = ad * b;
    wire signed [44:0] multiplied = MREG != 0 ? m_kept : product;
    wire signed [47:0] result = {{3{multiplied[44]}}, multiplied};
    assign P = PREG != 0 ? p_kept : result;

    always @(posedge CLK) begin
        if (RSTA) a_kept <= 0; else if (CEA2) a_kept <= A[26:0];
        if (RSTD) {d_kept, ad_kept} <= 0;
        else begin
            if (CED) d_kept <= D;
            if (CEAD) ad_kept <= sum;
        end
        if (RSTB) b_kept <= 0; else if (CEB2) b_kept <= B;
        if (RSTM) m_kept <= 0; else if (CEM) m_kept <= product;
        if (RSTP) p_kept <= 0; else if (CEP) p_kept <= result;
    end

    // What no mode above uses.
    wire unused = &{1'b0, C, ACIN, BCIN, PCIN, CARRYCASCIN, MULTSIGNIN, CEA1, CEALUMODE, CEB1, CEC, CECARRYIN,
        CECTRL, CEINMODE, RSTALLCARRYIN, RSTALUMODE, RSTC, RSTCTRL, RSTINMODE, A[29:27]};
endmodule
