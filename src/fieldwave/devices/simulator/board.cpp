// A simulated board at the end of a line: its clock, and its bridge's bytes to and from a file descriptor.
//
// Usage: board DESCRIPTOR. What is read from it goes to the board, and what the board sends is written to it, until
// the other side has gone. Time stands still while nothing happens on the line for long.

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <poll.h>
#include <unistd.h>

#include "Vboard.h"
#include "verilated.h"

namespace {

constexpr uint64_t kReset = 16;         // cycles
constexpr uint64_t kLook = 64;          // cycles between looks at an idle line
constexpr uint64_t kQuiet = 2'000'000;  // cycles without a byte after which time stands still

struct Line {
    int descriptor;
    uint8_t input[4096], output[4096];
    ssize_t next = 0, end = 0, filled = 0;
    bool gone = false;

    bool waiting() const { return next < end; }

    void look(int milliseconds) {
        pollfd events{descriptor, POLLIN, 0};
        if (gone || ::poll(&events, 1, milliseconds) <= 0) return;
        ssize_t count = ::read(descriptor, input, sizeof input);
        if (count > 0) next = 0, end = count;
        else if (count == 0 || (errno != EAGAIN && errno != EINTR)) gone = true;
    }

    void send(uint8_t byte) {
        output[filled++] = byte;
        if (filled == sizeof output) flush();
    }

    void flush() {
        for (ssize_t done = 0; done < filled && !gone;) {
            ssize_t count = ::write(descriptor, output + done, filled - done);
            if (count > 0) done += count;
            else if (errno == EAGAIN) { pollfd events{descriptor, POLLOUT, 0}; ::poll(&events, 1, 100); }
            else if (errno != EINTR) gone = true;
        }
        filled = 0;
    }
};

}  // namespace

double sc_time_stamp() { return 0; }

int main(int count, char** arguments) {
    if (count != 2) return 2;
    static Line line{std::atoi(arguments[1])};
    VerilatedContext context;
    Vboard top{&context};
    top.serial_source_ready = 1;
    uint64_t active = 0;  // cycle of the last byte
    for (uint64_t cycle = 0; !line.gone; cycle++) {
        top.sys_rst = cycle < kReset;
        if (cycle > kReset && !line.waiting() && cycle % kLook == 0) {
            line.flush();
            line.look(cycle - active > kQuiet ? 1000 : 0);
        }
        bool offered = cycle > kReset && line.waiting();
        top.serial_sink_valid = offered;
        if (offered) top.serial_sink_data = line.input[line.next];
        top.sys_clk = 0;
        top.eval();
        if (offered && top.serial_sink_ready) line.next++, active = cycle;
        if (cycle > kReset && top.serial_source_valid) line.send(top.serial_source_data), active = cycle;
        top.sys_clk = 1;
        top.eval();
    }
}
