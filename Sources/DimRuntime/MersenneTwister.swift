/// mt19937 (Matsumoto and Nishimura 1998) as PyTorch's CPU generator draws from it, so that a seed gives the same numbers
/// here and there: `uniform` equals `torch.rand` after `torch.manual_seed(seed)`.
package struct MersenneTwister: Equatable {
    package static let stateSize = 624
    private static let shift = 397

    /// The 624 words of state and the position in them: all that a checkpoint needs.
    package private(set) var state: [UInt32]
    package private(set) var position: Int
    /// How often the words were made anew; a count of draws.
    private var refills = 0

    /// Only the low 32 bits of the seed matter, as in PyTorch.
    package init(seed: UInt64) {
        var word = UInt32(truncatingIfNeeded: seed)
        state = [word]
        state.reserveCapacity(MersenneTwister.stateSize)
        for i in 1..<MersenneTwister.stateSize {
            word = 1_812_433_253 &* (word ^ (word >> 30)) &+ UInt32(i)
            state.append(word)
        }
        position = MersenneTwister.stateSize
    }

    /// Nil where the state cannot have come from a generator.
    package init?(state: [UInt32], position: Int) {
        guard state.count == MersenneTwister.stateSize, (0...MersenneTwister.stateSize).contains(position) else {
            return nil
        }
        self.state = state
        self.position = position
    }

    package mutating func next() -> UInt32 {
        if position == MersenneTwister.stateSize { refill() }
        var y = state[position]
        position += 1
        y ^= y >> 11
        y ^= (y << 7) & 0x9d2c_5680
        y ^= (y << 15) & 0xefc6_0000
        return y ^ (y >> 18)
    }

    /// As after that many draws more.
    package mutating func skip(_ draws: Int) {
        var left = draws
        while left > 0 {
            if position == MersenneTwister.stateSize { refill() }
            let some = min(left, MersenneTwister.stateSize - position)
            position += some
            left -= some
        }
    }

    /// How many draws this one is behind a copy of it from before.
    package func draws(since before: MersenneTwister) -> Int {
        (refills - before.refills) * MersenneTwister.stateSize + position - before.position
    }

    package static func == (one: MersenneTwister, other: MersenneTwister) -> Bool {
        one.state == other.state && one.position == other.position
    }

    /// Uniform on [0, 1) with 24 random bits, as `torch.rand` in float32.
    package mutating func uniform() -> Float {
        Float(next() & 0xff_ffff) * 0x1p-24
    }

    private mutating func refill() {
        let n = MersenneTwister.stateSize
        for i in 0..<n {
            let y = (state[i] & 0x8000_0000) | (state[(i + 1) % n] & 0x7fff_ffff)
            state[i] = state[(i + MersenneTwister.shift) % n] ^ (y >> 1) ^ ((y & 1) == 0 ? 0 : 0x9908_b0df)
        }
        position = 0
        refills &+= 1
    }
}
