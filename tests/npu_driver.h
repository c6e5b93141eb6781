// Clocks a Verilated component and moves records into and out of its streams; see npu_verilate.py, which generates
//
//   struct Input {                                     one of these for each stream of the component
//       static constexpr size_t size = ...;            bytes of a record
//       static constexpr int words = ...;              32-bit words of the payload
//       static auto& payload(Vtop&), valid(Vtop&), ready(Vtop&);
//       static void move(const char* record, uint32_t* words);    or the other way round for an output
//   };
//   using Streams = std::tuple<Source<Input>, ..., Sink<Output>, ...>;

#include <cstdint>
#include <cstring>
#include <memory>
#include <tuple>
#include <type_traits>

template <int bit, int width> void put(uint32_t* words, uint64_t value) {
    if constexpr (width < 64) value &= (uint64_t{1} << width) - 1;
    constexpr int word = bit / 32, shift = bit % 32;
    words[word] |= static_cast<uint32_t>(value << shift);
    if constexpr (shift + width > 32) words[word + 1] |= static_cast<uint32_t>(value >> (32 - shift));
    if constexpr (shift + width > 64) words[word + 2] |= static_cast<uint32_t>(value >> (64 - shift));
}

template <int bit, int width, bool is_signed> int64_t get(const uint32_t* words) {
    constexpr int word = bit / 32, shift = bit % 32;
    uint64_t value = words[word] >> shift;
    if constexpr (shift + width > 32) value |= static_cast<uint64_t>(words[word + 1]) << (32 - shift);
    if constexpr (shift + width > 64) value |= static_cast<uint64_t>(words[word + 2]) << (64 - shift);
    value <<= 64 - width;
    return is_signed ? static_cast<int64_t>(value) >> (64 - width) : static_cast<int64_t>(value >> (64 - width));
}

template <class T> uint64_t load(const char* from) {
    T value;
    memcpy(&value, from, sizeof value);
    return value;
}

template <class T> void store(char* to, int64_t from) {
    T value = static_cast<T>(from);
    memcpy(to, &value, sizeof value);
}

// Verilator's ports are integers of 8 to 64 bits, or arrays of 32-bit words.
template <class P> void write_port(P& port, const uint32_t* words, size_t bytes) {
    if constexpr (!std::is_integral_v<P>) memcpy(port.data(), words, bytes);
    else if constexpr (sizeof(P) == 8) port = words[0] | static_cast<uint64_t>(words[1]) << 32;
    else port = static_cast<P>(words[0]);
}

template <class P> void read_port(const P& port, uint32_t* words, size_t bytes) {
    if constexpr (!std::is_integral_v<P>) memcpy(words, port.data(), bytes);
    else if constexpr (sizeof(P) == 8) words[0] = static_cast<uint32_t>(port), words[1] = port >> 32;
    else words[0] = port;
}

// The will to move: always, or in phases of 64 clocks from hardly ever to always, so that pipelines run full and empty.
class Will {
    uint64_t state;
    unsigned chance = 256;
    bool stalls;

public:
    Will(uint64_t seed, bool stalls_) : state(seed * 0x9E3779B97F4A7C15u + 1), stalls(stalls_) {}
    bool operator()(uint64_t clock) {
        static const unsigned chances[] = {8, 64, 128, 192, 256, 256};
        if (!stalls) return true;
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        if (clock % 64 == 0) chance = chances[(state >> 40) % 6];
        return (state >> 20 & 255) < chance;
    }
};

template <class Port> struct Source {
    static constexpr bool is_input = true;
    const char* records;
    uint64_t limit, moved = 0;
    Will will;
    bool valid = false;

    Source(void* array, uint64_t limit_, uint64_t seed, bool stalls)
        : records(static_cast<char*>(array)), limit(limit_), will(seed, stalls) {}

    void drive(Vtop& top, uint64_t clock) {
        if (!valid && will(clock) && moved < limit) {
            uint32_t words[Port::words] = {};
            Port::move(records + moved * Port::size, words);
            write_port(Port::payload(top), words, sizeof words);
            valid = true;
        }
        Port::valid(top) = valid;
    }
    bool move(Vtop& top) {
        if (!valid || !Port::ready(top)) return false;
        valid = false, ++moved;
        return true;
    }
    static constexpr bool broken = false;
};

template <class Port> struct Sink {
    static constexpr bool is_input = false;
    char* records;
    uint64_t limit, moved = 0;
    Will will;
    bool valid = false, ready = false, broken = false;
    uint32_t words[Port::words] = {};

    Sink(void* array, uint64_t limit_, uint64_t seed, bool stalls)
        : records(static_cast<char*>(array)), limit(limit_), will(seed, stalls) {}

    void drive(Vtop& top, uint64_t clock) { Port::ready(top) = ready = will(clock); }
    bool move(Vtop& top) {
        const bool waited = valid && !taken;
        uint32_t now[Port::words] = {};
        valid = Port::valid(top);
        if (valid) read_port(Port::payload(top), now, sizeof now);
        if (waited && (!valid || memcmp(now, words, sizeof now))) broken = true;
        memcpy(words, now, sizeof now);
        taken = valid && ready;
        if (!taken) return false;
        if (moved < limit) Port::move(records + moved * Port::size, words);
        ++moved;
        return true;
    }

private:
    bool taken = false;
};

struct Outcome {
    uint64_t clocks;   // until the last vector moved
    int64_t latency;   // from the first vector in to the first vector out
    int64_t broken;    // 1 + the number of the stream that changed a payload while it waited, or 0
};

template <class... Stream>
Outcome run_streams(std::tuple<Stream...>*, void** arrays, const uint64_t* limits, uint64_t* moved, uint64_t seed, bool stalls) {
    VerilatedContext context;
    Vtop top(&context);
    size_t index = 0;
    seed *= sizeof...(Stream);
    std::tuple<Stream...> streams{
        (++index, Stream(arrays[index - 1], limits[index - 1], seed + index, stalls))...};
    Outcome outcome{0, -1, 0};
    int64_t first = -1;
    const auto every = [&](auto what) { std::apply([&](auto&... stream) { (what(stream), ...); }, streams); };
    // Until all have moved, and a while longer: what comes then came twice. Or until nothing moves any more.
    for (uint64_t clock = 0, idle = 0, after = 0; idle < 20000 && after < 200 && !outcome.broken; ++clock) {
        bool moving = false, complete = true, arrived = false, left = false;
        top.clk = 0;
        every([&](auto& stream) { stream.drive(top, clock); });
        top.eval();
        int64_t number = 0;
        every([&](auto& stream) {
            ++number;
            moving |= stream.move(top);
            complete &= stream.moved >= stream.limit;
            (stream.is_input ? arrived : left) |= stream.is_input ? stream.moved > 0 : stream.valid;
            if (stream.broken) outcome.broken = number;
        });
        if (first < 0 && arrived) first = clock;
        if (outcome.latency < 0 && left) outcome.latency = clock - first;
        if (complete && !after) outcome.clocks = clock + 1;
        after += complete;
        idle = moving ? 0 : idle + 1;
        top.clk = 1;
        top.eval();
    }
    index = 0;
    every([&](auto& stream) { moved[index++] = stream.moved; });
    return outcome;
}
