import DimRuntime
import Testing

@Suite struct MersenneTwisterTests {
    /// The C++ standard ([rand.predef]) names the 10,000th draw of mt19937 with its default seed.
    @Test func theTenThousandthDraw() {
        var generator = MersenneTwister(seed: 5489)
        for _ in 1..<10_000 { _ = generator.next() }
        #expect(generator.next() == 4_123_659_995)
    }

    /// The recurrence as it is published: each word of three that are 624, 623 and 227 draws back.
    @Test func eachDrawIsOfThreeEarlierOnes() {
        var generator = MersenneTwister(seed: 7)
        var words = generator.state
        for i in 0..<5 * MersenneTwister.stateSize {
            let y = words[i] & 0x8000_0000 | words[i + 1] & 0x7fff_ffff
            words.append(words[i + 397] ^ y >> 1 ^ (y % 2 == 0 ? 0 : 0x9908_b0df))
            _ = generator.next()
            let place = words.count - 1
            #expect(generator.state[place % MersenneTwister.stateSize] == words[place])
        }
    }

    @Test(arguments: [0, 1, 5, 623, 624, 625, 1248, 5000])
    func manyAtOnceAreOneAfterAnother(_ count: Int) {
        for before in [0, 1, 100, 623, 624, 700] {
            var one = MersenneTwister(seed: 3)
            one.skip(before)
            var other = one
            let expected = (0..<count).map { _ in one.uniform() }
            var found = [Float](repeating: -1, count: count + 1)
            found.withUnsafeMutableBufferPointer { other.uniforms(into: $0.baseAddress!, count: count) }
            #expect(Array(found.prefix(count)) == expected && found[count] == -1, "after \(before) draws")
            #expect(
                other == one
                    && other.draws(since: MersenneTwister(seed: 3)) == one.draws(since: MersenneTwister(seed: 3)))
        }
    }
}
