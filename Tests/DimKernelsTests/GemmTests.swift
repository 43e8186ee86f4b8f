import DimKernels
import DimRuntime
import Testing

/// How operands lie in memory, as the library's layers have them.
enum Layout: CaseIterable {
    case rowMajor, transposed, blocked, window
}

@Suite struct GemmTests {
    static let sizes = [
        (1, 32, 1), (1, 32, 48), (2, 64, 7), (3, 32, 16), (5, 96, 17), (13, 32, 33), (14, 32, 64), (25, 64, 100),
        (7, 1, 5),
        (3, 10, 15), (9, 40, 130), (26, 15, 64), (17, 200, 31), (40, 63, 65),
        // Two panels at a time: one tile, several, and a panel that is left over.
        (4, 64, 16), (6, 128, 33), (15, 64, 47), (16, 96, 20), (19, 128, 272),
    ]

    @Test(arguments: KernelTable.supported.map(\.name), Layout.allCases)
    func matchesTheReference(table: String, layout: Layout) throws {
        let kernels = try #require(KernelTable.named(table))
        for (index, (rows, columns, depth)) in GemmTests.sizes.enumerated() {
            for variant in 0..<4 {
                var random = MersenneTwister(seed: UInt64(index * 10 + variant))
                try check(kernels, layout, rows, columns, depth, variant, &random)
            }
        }
    }

    private func check(
        _ kernels: KernelTable, _ layout: Layout, _ rows: Int, _ columns: Int, _ depth: Int, _ variant: Int,
        _ random: inout MersenneTwister
    ) throws {
        let (row, step, block, run): (Int, Int, Int, Int) =
            switch layout {
            case .rowMajor: (depth + 3, 1, 16, 16)
            case .transposed: (1, rows + 2, 16 * (rows + 2), 16)
            case .blocked: (16, 1, rows * 16, 16)
            case .window: (1, 1, rows + 9, 4)
            }
        func offset(_ r: Int, _ k: Int) -> Int { r * row + k / run * block + k % run * step }
        var size = 0
        for r in 0..<rows { for k in 0..<depth { size = max(size, offset(r, k) + 1) } }
        let a = try Buffer(random.values(size, variant))
        let panels = (columns + 31) / 32
        let b = try Buffer(random.values(panels * depth * 32, variant))
        let scale = try Buffer(random.values(panels * 32, 0))
        let bias = try Buffer(random.values(panels * 32, 0))
        let blockedC = layout == .blocked
        let cRow = blockedC ? 16 : columns + 5
        let cHalf = blockedC ? rows * 16 : 16
        func at(_ r: Int, _ j: Int) -> Int { r * cRow + j / 16 * cHalf + j % 16 }
        let before = random.values((rows + 1) * (columns + 64) + 64, 0)
        let c = try Buffer(before)
        let table: [Int] = (0...depth / run).map { $0 * block }
        let accumulate = variant & 1 == 1
        let epilogue = variant & 2 == 2
        table.withUnsafeBufferPointer { offsets in
            kernels.gemm(
                Gemm(
                    rows: rows, columns: columns, depth: depth, a: a.pointer, aRow: row, aStep: step, aBlock: block,
                    aRun: run,
                    aOffsets: layout == .window ? offsets.baseAddress : nil,
                    b: b.pointer, c: c.pointer, cRow: cRow, cHalf: cHalf, accumulate: accumulate,
                    scale: epilogue ? UnsafePointer(scale.pointer) : nil,
                    bias: epilogue ? UnsafePointer(bias.pointer) : nil,
                    relu: epilogue))
        }
        func product(_ a: (Int, Int) -> Float, _ b: (Int, Int) -> Float, absolute: Bool) -> [Double] {
            func m(_ x: Float) -> Float { absolute ? abs(x) : x }
            return Reference.gemm(
                rows: rows, columns: columns, depth: depth, accumulate: accumulate ? { m(before[at($0, $1)]) } : nil,
                scale: epilogue ? { m(scale.pointer[$0]) } : nil, bias: epilogue ? { m(bias.pointer[$0]) } : nil,
                relu: epilogue, a: a, b: b)
        }
        let expected = product(
            { a.pointer[offset($0, $1)] }, { b.pointer[$1 / 32 * depth * 32 + $0 * 32 + $1 % 32] }, absolute: false)
        let magnitude = product(
            { abs(a.pointer[offset($0, $1)]) }, { abs(b.pointer[$1 / 32 * depth * 32 + $0 * 32 + $1 % 32]) },
            absolute: true)
        // n products and sums round n + 3 times at most.
        let epsilon = Double(depth + 4) * Double(Float.ulpOfOne)
        var worst = 0.0
        var written = Set<Int>()
        for r in 0..<rows {
            for j in 0..<columns {
                let i = r * columns + j
                written.insert(at(r, j))
                let error = abs(Double(c.pointer[at(r, j)]) - expected[i])
                worst = max(worst, error / (epsilon * magnitude[i] + Double(Float.leastNormalMagnitude)))
            }
        }
        #expect(worst <= 1, "\(kernels.name) \(layout) \(rows)x\(columns)x\(depth) variant \(variant)")
        let untouched = before.indices.allSatisfy { written.contains($0) || c.pointer[$0] == before[$0] }
        #expect(untouched, "\(kernels.name) \(layout) \(rows)x\(columns)x\(depth) writes outside of C")
    }

    @Test(arguments: KernelTable.supported.map(\.name))
    func alongKMatchesTheReference(table: String) throws {
        let kernels = try #require(KernelTable.named(table))
        for (rows, columns, depth) in [
            (1, 1, 1), (1, 64, 1000), (2, 15, 64), (3, 10, 15), (5, 7, 33), (7, 9, 4), (64, 64, 129),
        ] {
            for variant in 0..<4 {
                var random = MersenneTwister(seed: UInt64(rows + depth + variant))
                let (aRow, bRow, cRow) = (depth + 1, depth + 2, columns + 3)
                let a = try Buffer(random.values(rows * aRow, variant))
                let b = try Buffer(random.values(columns * bRow, variant))
                let before = random.values(rows * cRow, 0)
                let c = try Buffer(before)
                kernels.gemmNT(
                    GemmNT(
                        rows: rows, columns: columns, depth: depth, a: a.pointer, aRow: aRow, b: b.pointer, bRow: bRow,
                        c: c.pointer, cRow: cRow, accumulate: variant & 1 == 1))
                for i in 0..<rows {
                    for j in 0..<columns {
                        var (sum, magnitude) = (0.0, 0.0)
                        for k in 0..<depth {
                            let term = Double(a.pointer[i * aRow + k]) * Double(b.pointer[j * bRow + k])
                            sum += term
                            magnitude += abs(term)
                        }
                        if variant & 1 == 1 {
                            sum += Double(before[i * cRow + j])
                            magnitude += abs(Double(before[i * cRow + j]))
                        }
                        let error = abs(Double(c.pointer[i * cRow + j]) - sum)
                        let bound = Double(depth + 2) * Double(Float.ulpOfOne) * magnitude
                        #expect(
                            error <= bound + Double(Float.leastNormalMagnitude), "\(table) \(rows)x\(columns)x\(depth)")
                    }
                }
            }
        }
    }

    /// A row's result is its own: the same bits alone and among others.
    @Test(arguments: KernelTable.supported.map(\.name))
    func rowsDoNotAffectEachOther(table: String) throws {
        let kernels = try #require(KernelTable.named(table))
        var random = MersenneTwister(seed: 5)
        let (rows, depth) = (31, 77)
        let a = try Buffer(random.values(rows * depth, 0))
        let b = try Buffer(random.values(64 * depth, 0))
        let c = try Buffer(zeros: rows * 64)
        let d = try Buffer(zeros: rows * 64)
        kernels.gemm(
            Gemm(rows: rows, columns: 64, depth: depth, a: a.pointer, aRow: depth, b: b.pointer, c: c.pointer, cRow: 64)
        )
        for r in 0..<rows {
            kernels.gemm(
                Gemm(
                    rows: 1, columns: 64, depth: depth, a: a.pointer + r * depth, aRow: depth, b: b.pointer,
                    c: d.pointer + r * 64, cRow: 64))
        }
        #expect(c.array == d.array)
        kernels.gemmNT(
            GemmNT(
                rows: rows, columns: 64, depth: depth, a: a.pointer, aRow: depth, b: b.pointer, bRow: depth,
                c: c.pointer, cRow: 64))
        for r in 0..<rows {
            kernels.gemmNT(
                GemmNT(
                    rows: 1, columns: 64, depth: depth, a: a.pointer + r * depth, aRow: depth, b: b.pointer,
                    bRow: depth,
                    c: d.pointer + r * 64, cRow: 64))
        }
        #expect(c.array == d.array)
    }
}

extension MersenneTwister {
    /// Numbers in [-1, 1); other kinds mix in what breaks careless code: zeros, denormals, large values.
    mutating func values(_ count: Int, _ kind: Int) -> [Float] {
        (0..<count).map { _ in
            let x = uniform() * 2 - 1
            guard kind >= 2 else { return x }
            switch next() % 8 {
            case 0: return 0
            case 1: return x * 0x1p-135
            case 2: return x * 1e6
            default: return x
            }
        }
    }
}
