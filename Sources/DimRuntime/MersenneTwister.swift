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
        let word = MersenneTwister.tempered(state[position])
        position += 1
        return word
    }

    @inline(__always)
    private static func tempered(_ word: UInt32) -> UInt32 {
        var y = word
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
    package mutating func uniform() -> Float { MersenneTwister.uniform(next()) }

    /// As `count` calls of `uniform`, in loops that the compiler makes vectors of: a network has millions of weights.
    package mutating func uniforms(into result: UnsafeMutablePointer<Float>, count: Int) {
        var done = 0
        while done < count {
            if position == MersenneTwister.stateSize { refill() }
            let some = min(count - done, MersenneTwister.stateSize - position)
            state.withUnsafeBufferPointer { words in
                for i in 0..<some {
                    result[done + i] = MersenneTwister.uniform(MersenneTwister.tempered(words[position + i]))
                }
            }
            position += some
            done += some
        }
    }

    @inline(__always)
    private static func uniform(_ word: UInt32) -> Float {
        Float(Int32(bitPattern: word & 0xff_ffff)) * 0x1p-24
    }

    /// Each word of the new state is made of three of the old one, two of which may be new already: where they are decides
    /// how far a loop can go.
    private mutating func refill() {
        let n = MersenneTwister.stateSize
        let shift = MersenneTwister.shift
        state.withUnsafeMutableBufferPointer { words in
            let s = words.baseAddress!
            for i in 0..<(n - shift) { s[i] = s[i + shift] ^ MersenneTwister.mixed(s[i], s[i + 1]) }
            for i in (n - shift)..<(n - 1) { s[i] = s[i + shift - n] ^ MersenneTwister.mixed(s[i], s[i + 1]) }
            s[n - 1] = s[shift - 1] ^ MersenneTwister.mixed(s[n - 1], s[0])
        }
        position = 0
        refills &+= 1
    }

    @inline(__always)
    private static func mixed(_ word: UInt32, _ next: UInt32) -> UInt32 {
        let y = (word & 0x8000_0000) | (next & 0x7fff_ffff)
        return (y >> 1) ^ ((0 &- (y & 1)) & 0x9908_b0df)
    }
}
