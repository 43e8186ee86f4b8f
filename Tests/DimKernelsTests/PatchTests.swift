import DimKernels
import DimRuntime
import Testing

/// The kernels that move a convolution's windows, against their definitions: exact, for nothing is computed.
@Suite struct PatchTests {
    struct Size: CustomStringConvertible {
        let images = 2
        let (height, width): (Int, Int)
        let kernel: (Int, Int)
        let stride: (Int, Int)
        let padding: (Int, Int)
        var output: (Int, Int) {
            (
                (height + 2 * padding.0 - kernel.0) / stride.0 + 1,
                (width + 2 * padding.1 - kernel.1) / stride.1 + 1
            )
        }
        var description: String { "\(height)x\(width), kernel \(kernel), stride \(stride), padding \(padding)" }
    }

    static let sizes = [
        Size(height: 5, width: 7, kernel: (3, 3), stride: (1, 1), padding: (1, 1)),
        Size(height: 6, width: 4, kernel: (2, 4), stride: (2, 3), padding: (0, 3)),
        Size(height: 9, width: 10, kernel: (1, 1), stride: (4, 4), padding: (0, 0)),
        Size(height: 2, width: 1, kernel: (11, 9), stride: (1, 2), padding: (10, 8)),
        Size(height: 3, width: 3, kernel: (3, 3), stride: (3, 3), padding: (2, 2)),
    ]

    @Test(arguments: KernelTable.supported.map(\.name), sizes.indices)
    func windows(table: String, index: Int) throws {
        let kernels = try #require(KernelTable.named(table))
        let size = PatchTests.sizes[index]
        var random = MersenneTwister(seed: UInt64(index))
        let pixels = size.height * size.width
        let x = random.values(size.images * pixels * 16, 0)
        let windows = size.output.0 * size.output.1
        let rows = size.images * windows
        let step = 20
        for place in 0..<size.kernel.0 * size.kernel.1 {
            let shift = (place / size.kernel.1 - size.padding.0, place % size.kernel.1 - size.padding.1)
            for range in [0..<rows, 1..<rows - 1, rows / 2..<rows / 2 + 1, windows - 1..<rows] where !range.isEmpty {
                let source = try Buffer(x)
                let before = random.values(range.count * step, 0)
                let target = try Buffer(before)
                let patches = PatchRows(
                    source: source.pointer, height: size.height, width: size.width, outputHeight: size.output.0,
                    outputWidth: size.output.1, rowStride: size.stride.0, columnStride: size.stride.1,
                    rowShift: shift.0, columnShift: shift.1, first: range.lowerBound, count: range.count,
                    target: target.pointer, targetStep: step)
                kernels.gatherPatches(patches)
                var expected = before, sums = x
                for (at, row) in range.enumerated() {
                    let (image, window) = (row / windows, row % windows)
                    let i = window / size.output.1 * size.stride.0 + shift.0
                    let j = window % size.output.1 * size.stride.1 + shift.1
                    let isInside = (0..<size.height).contains(i) && (0..<size.width).contains(j)
                    for lane in 0..<16 {
                        let pixel = (image * pixels + i * size.width + j) * 16 + lane
                        expected[at * step + lane] = isInside ? x[pixel] : 0
                        if isInside { sums[pixel] += x[pixel] }
                    }
                }
                #expect(target.array == expected, "\(table) gather \(size) place \(place) rows \(range)")
                kernels.scatterPatches(patches)
                #expect(source.array == sums, "\(table) scatter \(size) place \(place) rows \(range)")
            }
        }
    }

    /// Pieces in order, each overwritten by the next where they overlap.
    @Test(arguments: KernelTable.supported.map(\.name))
    func vectors(table: String) throws {
        let kernels = try #require(KernelTable.named(table))
        var random = MersenneTwister(seed: 9)
        let x = random.values(400, 0)
        for (sourceStep, step, count, vectors) in [(6, 64, 4, 2), (3, 12, 20, 1), (33, 48, 5, 3)] {
            let target = try Buffer(random.values(400, 0))
            var expected = target.array
            kernels.copyVectors(x, sourceStep, target.pointer, step, count, vectors)
            for part in 0..<vectors {
                for r in 0..<count {
                    for lane in 0..<16 {
                        expected[r * step + part * 16 + lane] = x[r * sourceStep + part * 16 + lane]
                    }
                }
            }
            #expect(target.array == expected, "\(table) \(step)")
        }
    }

    /// Sums of rows in double, row after row: what cancels leaves nothing of rounding.
    @Test(arguments: KernelTable.supported.map(\.name))
    func rowSums(table: String) throws {
        let kernels = try #require(KernelTable.named(table))
        var random = MersenneTwister(seed: 3)
        for rows in [1, 31, 33, 1000] {
            let x = random.values(rows * 16, 0)
            var sums = [Double](repeating: 1, count: 16)
            kernels.addRowSums(x, rows, &sums)
            for lane in 0..<16 {
                let expected = (0..<rows).reduce(1.0) { $0 + Double(x[$1 * 16 + lane]) }
                #expect(sums[lane] == expected, "\(table) \(rows) rows")
            }
        }
    }
}
