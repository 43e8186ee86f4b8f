/// The checksum of libhdf5's fletcher32 filter, at the speed of memory.
///
/// Over big-endian 16-bit words w_0 ... w_{N-1}, modulo 65535 = 2^16 - 1:
///     sum1 = Σ w_i        sum2 = Σ (N - i) w_i        checksum = sum2 << 16 | sum1
/// Modulo 2^16 - 1 swapping the bytes of a word is multiplying it by 2^8, so the sums are taken over little-endian words
/// and multiplied once in the end. In 16 lanes of T words, with s1 = Σ w and s2 = Σ (T - t) w of each lane j:
///     Σ w_i = Σ_j s1_j        Σ (N - i) w_i = Σ_j (16 s2_j - j s1_j)
///
/// It detects any change within one byte, and any burst within 16 bits except 0x0000 <-> 0xFFFF of an aligned word.
package struct Fletcher32 {
    private static let lanes = 16
    /// T: with it a lane's s2 stays below 65535 T (T + 1) / 2 < 2^32.
    private static let steps = 256

    private var sum1: UInt64 = 0
    private var sum2: UInt64 = 0
    private var anyNonZero = false

    package static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var sums = Fletcher32()
        guard let base = bytes.baseAddress else { return 0 }
        let words = bytes.count / 2
        var at = 0
        while words - at >= lanes {
            let t = min(steps, (words - at) / lanes)
            sums.addBlock(base + 2 * at, steps: t)
            at += t * lanes
        }
        while at < words {
            sums.addWord(base.loadUnaligned(fromByteOffset: 2 * at, as: UInt16.self).littleEndian)
            at += 1
        }
        if bytes.count % 2 == 1 {
            sums.addWord(UInt16(bytes[bytes.count - 1]))
        }
        return UInt32(sums.folded(sums.sum2)) << 16 | UInt32(sums.folded(sums.sum1))
    }

    private mutating func addBlock(_ base: UnsafeRawPointer, steps: Int) {
        var s1 = SIMD16<UInt32>()
        var s2 = SIMD16<UInt32>()
        for t in 0..<steps {
            let words = base.loadUnaligned(fromByteOffset: 2 * Fletcher32.lanes * t, as: SIMD16<UInt16>.self)
            s1 &+= SIMD16<UInt32>(truncatingIfNeeded: words)
            s2 &+= s1
        }
        var total1: UInt64 = 0
        var total2: UInt64 = 0
        for j in 0..<Fletcher32.lanes {
            total1 += UInt64(s1[j])
            total2 += UInt64(Fletcher32.lanes) * UInt64(s2[j]) - UInt64(j) * UInt64(s1[j])
        }
        anyNonZero = anyNonZero || total1 > 0
        sum2 = (sum2 + UInt64(steps * Fletcher32.lanes) * sum1 + total2) % 65535
        sum1 = (sum1 + total1) % 65535
    }

    private mutating func addWord(_ word: UInt16) {
        anyNonZero = anyNonZero || word > 0
        sum1 = (sum1 + UInt64(word)) % 65535
        sum2 = (sum2 + sum1) % 65535
    }

    /// libhdf5 folds carries instead of dividing, so that its zero is 65535 unless every word is zero.
    private func folded(_ sum: UInt64) -> UInt16 {
        let value = sum * 256 % 65535
        return value == 0 && anyNonZero ? 65535 : UInt16(value)
    }
}
