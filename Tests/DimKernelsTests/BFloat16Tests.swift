import DimKernels
import DimRuntime
import Testing

/// The kernels of mixed precision against the slow reference, on processors that have them.
@Suite struct BFloat16Tests {
    private static let kernels = KernelTable.supported.compactMap(\.bfloat16).first

    /// The first term is in a word's lower half.
    private func halves(_ word: Float) -> (UInt16, UInt16) {
        (UInt16(truncatingIfNeeded: word.bitPattern), UInt16(word.bitPattern >> 16))
    }

    private func rounded(_ x: Float) -> UInt16 { UInt16(Reference.bfloat16(x).bitPattern >> 16) }

    @Test func theReferenceRoundsToNearestEven() {
        for (bits, expected): (UInt32, UInt32) in [
            (0x3f80_0000, 0x3f80), (0x3f80_7fff, 0x3f80), (0x3f80_8000, 0x3f80), (0x3f80_8001, 0x3f81),
            (0x3f81_8000, 0x3f82), (0xbf81_8000, 0xbf82), (0x7f7f_7fff, 0x7f7f), (0x7f7f_8000, 0x7f80),
            (0x7f80_0000, 0x7f80), (0xff80_0000, 0xff80), (0, 0), (0x8000_0000, 0x8000),
        ] {
            #expect(Reference.bfloat16(Float(bitPattern: bits)).bitPattern == expected << 16, "\(bits)")
        }
        #expect(Reference.bfloat16(Float(bitPattern: 0x7f80_0001)).isNaN)
        #expect(Reference.bfloat16(Float(bitPattern: 0x7fff_ffff)).isNaN)
    }

    @Test(.enabled(if: kernels != nil), arguments: [(1, 16), (2, 16), (7, 48), (33, 32), (104, 512)])
    func pairs(rows: Int, columns: Int) throws {
        let kernels = try #require(BFloat16Tests.kernels)
        var random = MersenneTwister(seed: UInt64(rows))
        let step = columns + 5
        var values = (0..<rows * step).map { _ in Float((random.uniform() - 0.5) * 2) }
        for (i, bits): (Int, UInt32) in [
            (0, 0x3f80_8000), (1, 0x3f81_8000), (2, 0x7f7f_ffff), (3, 0xff80_0000), (4, 0x8000_0000), (5, 0x7f80_0001),
        ] {
            values[i] = Float(bitPattern: bits)
        }
        let x = try Buffer(values)
        func at(_ row: Int, _ column: Int) -> UInt16 { row < rows ? rounded(values[row * step + column]) : 0 }
        let along = try Buffer(uninitialized: rows * columns)
        kernels.pairAlong(
            PairedRows(x.pointer, row: step, rows: rows, columns: columns, into: along.pointer, row: columns))
        let across = try Buffer(uninitialized: rows * columns + columns)
        kernels.pairAcross(
            PairedRows(x.pointer, row: step, rows: rows, columns: columns, into: across.pointer, row: columns))
        for row in 0..<rows {
            for q in 0..<columns / 2 where row > 0 || q > 2 {
                #expect(halves(along.pointer[row * columns + q]) == (at(row, 2 * q), at(row, 2 * q + 1)))
            }
        }
        for q in 0..<(rows + 1) / 2 {
            for column in 0..<columns where q > 0 || column != 5 {
                #expect(halves(across.pointer[q * columns + column]) == (at(2 * q, column), at(2 * q + 1, column)))
            }
        }
        // NaN stays NaN, whatever its bits.
        let nan = (halves(along.pointer[2]).1, halves(across.pointer[5]).0)
        #expect(Float(bitPattern: UInt32(nan.0) << 16).isNaN && Float(bitPattern: UInt32(nan.1) << 16).isNaN)
        // In place, as packed weights are.
        kernels.pairAcross(PairedRows(x.pointer, row: step, rows: rows, columns: columns, into: x.pointer, row: step))
        for q in 0..<(rows + 1) / 2 {
            for column in 0..<columns where q > 0 || column != 5 {
                #expect(halves(x.pointer[q * step + column]) == halves(across.pointer[q * columns + column]))
            }
        }
    }

    @Test(
        .enabled(if: kernels != nil), arguments: [(1, 32, 2), (5, 64, 30), (13, 32, 256), (27, 96, 77), (40, 63, 33)])
    func products(rows: Int, columns: Int, depth: Int) throws {
        let kernels = try #require(BFloat16Tests.kernels)
        var random = MersenneTwister(seed: UInt64(columns))
        let panels = (columns + 31) / 32
        let (wide, pairs) = ((depth + 15) / 16 * 16, (depth + 1) / 2)
        var a = (0..<rows * wide).map { _ in random.uniform() * 2 - 1 }
        for row in 0..<rows { for k in depth..<wide { a[row * wide + k] = 0 } }
        let b = (0..<panels * depth * 32).map { _ in random.uniform() * 2 - 1 }
        let bias = (0..<panels * 32).map { _ in random.uniform() * 2 - 1 }
        let before = (0..<rows * panels * 32).map { _ in random.uniform() * 2 - 1 }
        let (aBuffer, bBuffer, biasBuffer) = (try Buffer(a), try Buffer(b), try Buffer(bias))
        for accumulate in [false, true] {
            let aWords = try Buffer(uninitialized: rows * wide / 2)
            kernels.pairAlong(
                PairedRows(
                    aBuffer.pointer, row: wide, rows: rows, columns: wide, into: aWords.pointer, row: wide / 2))
            let bWords = try Buffer(uninitialized: panels * depth * 32 + 32)
            for panel in 0..<panels {
                kernels.pairAcross(
                    PairedRows(
                        bBuffer.pointer + panel * depth * 32, row: 32, rows: depth, columns: 32,
                        into: bWords.pointer + panel * depth * 32, row: 32))
            }
            let c = try Buffer(before)
            kernels.gemm(
                Gemm(
                    rows: rows, columns: columns, depth: pairs, a: aWords.pointer, aRow: wide / 2, aBlock: 8, aRun: 8,
                    b: bWords.pointer, bPanel: depth * 32, c: c.pointer, cRow: panels * 32, accumulate: accumulate,
                    bias: UnsafePointer(biasBuffer.pointer), relu: true))
            func expected(_ map: @escaping (Float) -> Float) -> [Double] {
                Reference.gemm(
                    rows: rows, columns: columns, depth: depth,
                    accumulate: accumulate ? { map(before[$0 * panels * 32 + $1]) } : nil, bias: { map(bias[$0]) },
                    relu: true, a: { map(Reference.bfloat16(a[$0 * wide + $1])) },
                    b: { map(Reference.bfloat16(b[$1 / 32 * depth * 32 + $0 * 32 + $1 % 32])) })
            }
            let (sums, magnitudes) = (expected { $0 }, expected(abs))
            for i in sums.indices {
                let found = Double(c.pointer[i / columns * panels * 32 + i % columns])
                let bound = Double(depth + 4) * Double(Float.ulpOfOne) * magnitudes[i]
                #expect(abs(found - sums[i]) <= bound, "\(rows)x\(columns)x\(depth) element \(i)")
            }
        }
    }
}
