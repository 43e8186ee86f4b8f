import DimRuntime
import DimFiles
import Testing

/// libhdf5's own loop (H5_checksum_fletcher32), as slow and as plain.
private func reference(_ bytes: [UInt8]) -> UInt32 {
    var (sum1, sum2): (UInt32, UInt32) = (0, 0)
    func fold(_ sum: UInt32) -> UInt32 { (sum & 0xffff) + (sum >> 16) }
    for i in stride(from: 0, to: bytes.count, by: 2) {
        let low = i + 1 < bytes.count ? UInt32(bytes[i + 1]) : 0
        sum1 = fold(sum1 + (UInt32(bytes[i]) << 8 | low))
        sum2 = fold(sum2 + sum1)
    }
    return fold(sum2) << 16 | fold(sum1)
}

extension WeightsTests {
    @Suite struct ChecksumTests {
        private func expectEqual(_ bytes: [UInt8], _ what: String) {
            #expect(bytes.withUnsafeBytes(Fletcher32.checksum) == reference(bytes), "\(what), \(bytes.count) bytes")
        }

        @Test(arguments: Array(0...70) + [511, 512, 8190, 8191, 8192, 8193, 8223, 8224, 16_384, 100_001])
        func isLibhdf5s(count: Int) {
            var random = MersenneTwister(seed: UInt64(count))
            expectEqual((0..<count).map { _ in UInt8(random.uniform() * 255.99) }, "random")
            expectEqual([UInt8](repeating: 0, count: count), "zeros")
            expectEqual([UInt8](repeating: 255, count: count), "ones")
            expectEqual((0..<count).map { $0 == count / 2 ? 1 : 0 }, "one")
            expectEqual((0..<count).map { $0 % 514 == 0 ? 255 : 0 }, "sparse")
        }

        @Test(arguments: [1, 15, 16, 17, 32, 100], [Float.nan, .infinity, -.infinity, -.nan])
        func everyValueThatIsNotFiniteIsSeen(count: Int, value: Float) {
            for place in 0..<count {
                var values = [Float](repeating: -.greatestFiniteMagnitude, count: count)
                #expect(Conversion.areFinite(values, count: count))
                values[place] = value
                #expect(!Conversion.areFinite(values, count: count), "\(place) of \(count)")
            }
        }
    }
}
