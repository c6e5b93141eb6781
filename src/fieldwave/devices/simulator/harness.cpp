// The clock loop and the memory of a simulated NPU: one AXI4 memory and one AXI4-Lite master around the core.
//
// Memory is the caller's buffer, used in place. Every AXI channel can be stalled at random; a beat takes the
// bandwidth that the caller allows, and a burst answers after a latency. Once valid, a channel stays valid.

#include <cstdint>
#include <cstring>
#include <deque>

#include "Vnpu.h"
#include "verilated.h"

namespace {

constexpr int kPortBytes = PORT_BYTES;
constexpr uint8_t kSlaveError = 2, kDecodeError = 3;

struct Settings {
    uint64_t base;             // AXI address of the buffer's first byte
    uint64_t latency;          // cycles from an accepted read burst to its first beat, and from a write to its answer
    uint64_t bandwidth;        // bytes per 256 cycles, reads and writes together
    uint64_t stall;            // chance that a channel stalls in a cycle, in 1/65536
    uint64_t seed;             // of the stalls
    uint64_t fault;            // AXI address that answers with an error; ~0 for none
    uint64_t silent;           // not 0: memory never answers
};

struct Burst {
    uint64_t address, due;
    int beats;
};

struct Simulation {
    VerilatedContext context;
    Vnpu top{&context};
    Settings settings{};
    uint8_t* memory = nullptr;
    uint64_t size = 0, cycle = 0, random = 1, credit = 0;
    std::deque<Burst> reads, writes, answers;
    bool read_valid = false, answer_valid = false, write_turn = false;
    uint8_t write_response = 0;
    bool offered[3] = {};
    uint8_t before[3][kPortBytes < 8 ? 8 : kPortBytes];
    const char* violation = nullptr;

    bool stalled() {  // xorshift64*
        if (!settings.stall) return false;
        random ^= random >> 12, random ^= random << 25, random ^= random >> 27;
        return (random * 0x2545F4914F6CDD1DULL >> 48) < settings.stall;
    }

    uint8_t response(uint64_t address) const {
        if (address < settings.base || address - settings.base + kPortBytes > size) return kDecodeError;
        return settings.fault - address < kPortBytes ? kSlaveError : 0;
    }

    bool spend() {
        if (credit < kPortBytes * 256) return false;
        credit -= kPortBytes * 256;
        return true;
    }

    // The rules of AXI4 that a master can break: what is offered stays until it is taken, bursts end as announced.
    void check() {
        struct { bool valid, ready; const void* payload; size_t size; const char* name; } channels[] = {
            {bool(top.m_axi_arvalid), bool(top.m_axi_arready), &top.m_axi_araddr, sizeof top.m_axi_araddr, "AR"},
            {bool(top.m_axi_awvalid), bool(top.m_axi_awready), &top.m_axi_awaddr, sizeof top.m_axi_awaddr, "AW"},
            {bool(top.m_axi_wvalid), bool(top.m_axi_wready), &top.m_axi_wdata, sizeof top.m_axi_wdata, "W"},
        };
        for (int i = 0; i < 3; i++) {
            auto& channel = channels[i];
            if (offered[i]) {
                if (!channel.valid) violation = channel.name;
                else if (std::memcmp(before[i], channel.payload, channel.size)) violation = channel.name;
            }
            offered[i] = channel.valid && !channel.ready;
            if (offered[i]) std::memcpy(before[i], channel.payload, channel.size);
        }
        if (top.m_axi_arvalid) check_burst(top.m_axi_araddr, top.m_axi_arlen, "AR");
        if (top.m_axi_awvalid) check_burst(top.m_axi_awaddr, top.m_axi_awlen, "AW");
        if (top.m_axi_wvalid && !writes.empty() && top.m_axi_wlast != (writes.front().beats == 1)) violation = "WLAST";
    }

    void check_burst(uint64_t address, int length, const char* name) {
        uint64_t last = address + uint64_t(length + 1) * kPortBytes - 1;
        if (address % kPortBytes || address >> 12 != last >> 12) violation = name;
    }

    // What the memory shows in this cycle; an offer that was not taken is repeated. Where the bandwidth is enough for
    // one beat only, reads and writes take turns.
    void drive() {
        credit += settings.bandwidth;
        if (credit > 2 * kPortBytes * 256) credit = 2 * kPortBytes * 256;
        top.m_axi_arready = !settings.silent && reads.size() < 64 && !stalled();
        top.m_axi_awready = !settings.silent && writes.size() < 8 && !stalled();
        bool can_write = !settings.silent && !writes.empty() && top.m_axi_wvalid && !stalled();
        bool can_read = !read_valid && !reads.empty() && reads.front().due <= cycle && !stalled();
        if (can_read && can_write && credit < 2 * kPortBytes * 256) {
            (write_turn ? can_read : can_write) = false;
            if (credit >= kPortBytes * 256) write_turn = !write_turn;
        }
        top.m_axi_wready = can_write && spend();
        if (can_read && spend()) {
            Burst& burst = reads.front();
            uint8_t error = response(burst.address);
            read_valid = true;
            top.m_axi_rresp = error;
            top.m_axi_rlast = burst.beats == 1;
            if (error == kDecodeError) std::memset(&top.m_axi_rdata, 0, kPortBytes);
            else std::memcpy(&top.m_axi_rdata, memory + (burst.address - settings.base), kPortBytes);
        }
        top.m_axi_rvalid = read_valid;
        if (!answer_valid && !answers.empty() && answers.front().due <= cycle && !stalled()) {
            answer_valid = true;
            top.m_axi_bresp = answers.front().beats;
        }
        top.m_axi_bvalid = answer_valid;
    }

    // What was agreed upon in this cycle, before the clock edge.
    void observe() {
        if (top.m_axi_arvalid && top.m_axi_arready)
            reads.push_back({top.m_axi_araddr, cycle + settings.latency, top.m_axi_arlen + 1});
        if (read_valid && top.m_axi_rready) {
            read_valid = false;
            reads.front().address += kPortBytes;
            if (--reads.front().beats == 0) reads.pop_front();
        }
        if (top.m_axi_wvalid && top.m_axi_wready) {
            Burst& burst = writes.front();
            uint8_t error = response(burst.address);
            if (error > write_response) write_response = error;
            uint8_t strobe[(kPortBytes + 7) / 8];
            std::memcpy(strobe, &top.m_axi_wstrb, sizeof strobe);
            const uint8_t* data = reinterpret_cast<const uint8_t*>(&top.m_axi_wdata);
            if (!error)
                for (int byte = 0; byte < kPortBytes; byte++)
                    if (strobe[byte / 8] >> byte % 8 & 1) memory[burst.address - settings.base + byte] = data[byte];
            burst.address += kPortBytes;
            if (--burst.beats == 0) {
                answers.push_back({0, cycle + settings.latency, write_response});
                write_response = 0;
                writes.pop_front();
            }
        }
        if (top.m_axi_awvalid && top.m_axi_awready)
            writes.push_back({top.m_axi_awaddr, 0, top.m_axi_awlen + 1});
        if (answer_valid && top.m_axi_bready) {
            answer_valid = false;
            answers.pop_front();
        }
    }

    void tick() {
        drive();
        top.clk = 0;
        top.eval();
        check();
        observe();
        top.clk = 1;
        top.eval();
        cycle++;
    }

    void reset() {
        reads.clear(), writes.clear(), answers.clear();
        read_valid = answer_valid = write_turn = false, write_response = 0;
        top.s_axi_awvalid = top.s_axi_wvalid = top.s_axi_arvalid = 0;
        top.s_axi_bready = top.s_axi_rready = 1;
        top.rst = 1;
        tick(), tick();
        top.rst = 0;
        tick(), tick();  // the core registers its reset
        offered[0] = offered[1] = offered[2] = false, violation = nullptr;
    }
};

}  // namespace

extern "C" {

Simulation* simulation_new() {
    auto* simulation = new Simulation;
    simulation->settings = {0, 0, kPortBytes * 256, 0, 1, ~0ULL, 0};
    simulation->reset();
    return simulation;
}

void simulation_free(Simulation* simulation) { delete simulation; }

void simulation_reset(Simulation* simulation) { simulation->reset(); }

void simulation_memory(Simulation* simulation, uint8_t* memory, uint64_t size, const Settings* settings) {
    simulation->memory = memory;
    simulation->size = size;
    simulation->settings = *settings;
    simulation->random = settings->seed * 0x9E3779B97F4A7C15ULL | 1;
}

// Both return 0 when the port did not answer within 1000 cycles.
int simulation_write(Simulation* simulation, uint32_t address, uint32_t value) {
    Vnpu& top = simulation->top;
    top.s_axi_awaddr = address, top.s_axi_wdata = value, top.s_axi_wstrb = 15;
    top.s_axi_awvalid = top.s_axi_wvalid = 1;
    for (int waited = 0; waited < 1000; waited++) {
        simulation->tick();
        if (!top.s_axi_bvalid) continue;
        top.s_axi_awvalid = top.s_axi_wvalid = 0;
        simulation->tick();
        return 1;
    }
    return 0;
}

int simulation_read(Simulation* simulation, uint32_t address, uint32_t* value) {
    Vnpu& top = simulation->top;
    top.s_axi_araddr = address, top.s_axi_arvalid = 1;
    for (int waited = 0; waited < 1000; waited++) {
        simulation->tick();
        if (!top.s_axi_rvalid) continue;
        top.s_axi_arvalid = 0;
        *value = top.s_axi_rdata;
        simulation->tick();
        return 1;
    }
    return 0;
}

// Clock until the interrupt rises; 0 when it has not within `cycles`.
int simulation_run(Simulation* simulation, uint64_t cycles) {
    for (uint64_t done = 0; done < cycles; done++) {
        if (simulation->top.irq) return 1;
        simulation->tick();
    }
    return 0;
}

// The channel on which a rule of AXI4 was broken, or null.
const char* simulation_violation(const Simulation* simulation) { return simulation->violation; }

uint64_t simulation_cycle(const Simulation* simulation) { return simulation->cycle; }

}
