import DimKernels
import DimRuntime

// Matrix products with seven multiplications of halves instead of eight (Strassen's algorithm in Winograd's form, with 15
// additions), to a depth of `levels`. Worth it where both factors are large: a level saves an eighth of the products, and
// the additions are passes over memory. An element's error grows by a small factor a level; docs/kernels.md has figures.
//
//     S1 = A21 + A22   S2 = S1 - A11    S3 = A11 - A21   S4 = A12 - S2
//     T1 = B12 - B11   T2 = B22 - T1    T3 = B22 - B12   T4 = T2 - B21
//     P1 = A11 B11   P2 = A12 B21   P3 = S4 B22   P4 = A22 T4   P5 = S1 T1   P6 = S2 T2   P7 = S3 T3
//     C11 = P1 + P2,   C12 = P1 + P6 + P5 + P3,   C21 = P1 + P6 + P7 - P4,   C22 = P1 + P6 + P7 + P5
package enum Strassen {
    /// The depth that measured best for the local discriminator's c1; 0, the plain product, where `DIM_CONV` is "direct".
    package static let levels = Convolution.isForcedDirect ? 0 : 1

    /// Seven to the power of `levels`: how many products there are.
    static func products(_ levels: Int) -> Int { (0..<levels).reduce(1) { product, _ in product * 7 } }

    /// Rows of temporary matrices are not powers of two apart, which would map them to few cache sets.
    static func stride(_ columns: Int) -> Int { columns + 16 }
}

/// A matrix in memory, row by row.
package struct StoredMatrix {
    package var pointer: UnsafeMutablePointer<Float>
    package var rows: Int
    package var columns: Int
    package var stride: Int

    package init(_ pointer: UnsafeMutablePointer<Float>, rows: Int, columns: Int, stride: Int) {
        self.pointer = pointer
        self.rows = rows
        self.columns = columns
        self.stride = stride
    }

    /// One of the four quarters.
    func quarter(_ row: Int, _ column: Int) -> StoredMatrix {
        StoredMatrix(
            pointer + row * (rows / 2) * stride + column * (columns / 2), rows: rows / 2, columns: columns / 2,
            stride: stride)
    }

    /// self = x + y or x - y, of the same size; see `MatrixSum` for the rest.
    func become(
        _ x: StoredMatrix, minus: Bool = false, _ y: StoredMatrix, accumulate: Bool = false, _ epilogue: Epilogue? = nil
    ) {
        DimKernels.selected.addMatrices(
            MatrixSum(
                rows: rows, columns: columns, x: x.pointer, xRow: x.stride, y: y.pointer, yRow: y.stride,
                subtract: minus, out: pointer, outRow: stride, accumulate: accumulate, bias: epilogue?.bias,
                relu: epilogue?.relu ?? false))
    }
}

/// The second factor of C = A B, made ready: B's seven combinations at each level, packed for the GEMM.
package final class StrassenWeights {
    let depth: Int
    let columns: Int
    let levels: Int
    private let buffer: Buffer

    /// `depth` and `columns` are multiples of 32 << levels.
    package init(depth: Int, columns: Int, levels: Int = Strassen.levels) throws {
        precondition(depth % (32 << levels) == 0 && columns % (32 << levels) == 0)
        (self.depth, self.columns, self.levels) = (depth, columns, levels)
        buffer = try Buffer(uninitialized: Strassen.products(levels) * (depth >> levels) * (columns >> levels))
    }

    /// From B(k, j) = weight[k][j], or weight[j][k] where `transposed`; a square matrix.
    package func prepare(_ weight: UnsafePointer<Float>, transposed: Bool) throws {
        let copy = try Buffer(uninitialized: depth * columns)
        if transposed {
            BlockedLayout.transpose(
                weight, rows: columns, columns: depth, stride: depth, into: copy.pointer, stride: columns)
        } else {
            copy.pointer.update(from: weight, count: depth * columns)
        }
        try pack(StoredMatrix(copy.pointer, rows: depth, columns: columns, stride: columns), levels, buffer.pointer)
    }

    private func pack(_ b: StoredMatrix, _ level: Int, _ target: UnsafeMutablePointer<Float>) throws {
        guard level > 0 else {
            Packing.packRows(b.pointer, stride: b.stride, depth: b.rows, columns: b.columns, into: target)
            return
        }
        let (b11, b12, b21, b22) = (b.quarter(0, 0), b.quarter(0, 1), b.quarter(1, 0), b.quarter(1, 1))
        let size = b11.rows * b11.columns
        let memory = try Buffer(uninitialized: 4 * size)
        let t = (0..<4).map {
            StoredMatrix(memory.pointer + $0 * size, rows: b11.rows, columns: b11.columns, stride: b11.columns)
        }
        t[0].become(b12, minus: true, b11)
        t[1].become(b22, minus: true, t[0])
        t[2].become(b22, minus: true, b12)
        t[3].become(t[1], minus: true, b21)
        let one = Strassen.products(level - 1) * (size >> (2 * (level - 1)))
        for (index, factor) in [b11, b21, b22, t[3], t[0], t[1], t[2]].enumerated() {
            try pack(factor, level - 1, target + index * one)
        }
    }

    /// Floats of scratch memory that a product with `rows` rows takes.
    package func scratch(rows: Int) -> Int {
        (0..<levels).reduce(0) { sum, level in
            let (rows, wide) = (rows >> (level + 1), max(depth, columns) >> (level + 1))
            return sum + 4 * rows * Strassen.stride(wide)
        }
    }

    /// C = A B, or C += A B, then the epilogue's bias and ReLU. A's rows are a multiple of 1 << levels. `scratch` is at least
    /// `scratch(rows:)` floats.
    package func multiply(
        _ a: StoredMatrix, into c: StoredMatrix, _ epilogue: Epilogue = Epilogue(),
        scratch: UnsafeMutablePointer<Float>
    ) {
        precondition(a.rows % (1 << levels) == 0 && a.columns == depth && c.columns == columns)
        multiply(a, buffer.pointer, levels, c, accumulate: false, epilogue, scratch)
    }

    private func multiply(
        _ a: StoredMatrix, _ b: UnsafePointer<Float>, _ level: Int, _ c: StoredMatrix, accumulate: Bool,
        _ epilogue: Epilogue, _ scratch: UnsafeMutablePointer<Float>
    ) {
        guard level > 0 else {
            DimKernels.selected.gemm(
                Gemm(
                    rows: a.rows, columns: c.columns, depth: a.columns, a: a.pointer, aRow: a.stride, b: b,
                    c: c.pointer, cRow: c.stride, accumulate: accumulate, bias: epilogue.bias, relu: epilogue.relu))
            return
        }
        let (a11, a12, a21, a22) = (a.quarter(0, 0), a.quarter(0, 1), a.quarter(1, 0), a.quarter(1, 1))
        let (c11, c12, c21, c22) = (c.quarter(0, 0), c.quarter(0, 1), c.quarter(1, 0), c.quarter(1, 1))
        let wide = Strassen.stride(max(a11.columns, c11.columns))
        func temporary(_ index: Int, columns: Int) -> StoredMatrix {
            StoredMatrix(scratch + index * a11.rows * wide, rows: a11.rows, columns: columns, stride: wide)
        }
        let s = temporary(0, columns: a11.columns)
        let (x, y, z) = (
            temporary(1, columns: c11.columns), temporary(2, columns: c11.columns), temporary(3, columns: c11.columns)
        )
        let deeper = scratch + 4 * a11.rows * wide
        let one = Strassen.products(level - 1) * ((a11.columns * c11.columns) >> (2 * (level - 1)))
        func product(
            _ index: Int, _ a: StoredMatrix, _ c: StoredMatrix, accumulate: Bool = false,
            _ epilogue: Epilogue = Epilogue()
        ) {
            multiply(a, b + index * one, level - 1, c, accumulate: accumulate, epilogue, deeper)
        }
        var right = epilogue
        right.bias = epilogue.bias.map { $0 + c11.columns }

        product(0, a11, x)
        product(1, a12, y)
        c11.become(x, y, accumulate: accumulate, epilogue)
        s.become(a21, a22)
        product(4, s, z)
        s.become(s, minus: true, a11)
        product(5, s, x, accumulate: true)
        c12.become(x, z, accumulate: accumulate)
        s.become(a12, minus: true, s)
        product(2, s, c12, accumulate: true, right)
        s.become(a11, minus: true, a21)
        product(6, s, x, accumulate: true)
        product(3, a22, y)
        c21.become(x, minus: true, y, accumulate: accumulate, epilogue)
        c22.become(x, z, accumulate: accumulate, right)
    }
}

/// The sum of products C += A^T B over many A and B, both (k, columns): the seven products of each level have sums of their
/// own, which are put together once at the end.
package struct StrassenSums {
    let rows: Int
    let columns: Int
    let levels: Int

    /// C is rows x columns.
    package init(rows: Int, columns: Int, levels: Int = Strassen.levels) {
        precondition(rows % (32 << levels) == 0 && columns % (32 << levels) == 0)
        (self.rows, self.columns, self.levels) = (rows, columns, levels)
    }

    /// Floats of the sums.
    package var count: Int { Strassen.products(levels) * (rows >> levels) * (columns >> levels) }

    /// Floats of scratch memory that `add` takes for k of `depth`.
    package func scratch(depth: Int) -> Int {
        (0..<levels).reduce(0) { sum, level in
            let wide = max(rows, columns) >> (level + 1)
            return sum + 2 * (depth >> (level + 1)) * Strassen.stride(wide)
        }
    }

    /// Adds A^T B. k is a multiple of 1 << levels.
    package func add(
        _ a: StoredMatrix, _ b: StoredMatrix, to sums: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>
    ) {
        precondition(a.rows == b.rows && a.rows % (1 << levels) == 0 && a.columns == rows && b.columns == columns)
        add(a, b, levels, sums, scratch)
    }

    private func add(
        _ a: StoredMatrix, _ b: StoredMatrix, _ level: Int, _ sums: UnsafeMutablePointer<Float>,
        _ scratch: UnsafeMutablePointer<Float>
    ) {
        guard level > 0 else {
            DimKernels.selected.gemm(
                Gemm(
                    rows: a.columns, columns: b.columns, depth: a.rows, a: a.pointer, aRow: 1, aStep: a.stride,
                    aBlock: 16 * a.stride, b: b.pointer, bRow: b.stride, bPanel: 32, c: sums, cRow: b.columns,
                    accumulate: true))
            return
        }
        // A is stored as its transpose.
        let (a11, a12, a21, a22) = (a.quarter(0, 0), a.quarter(1, 0), a.quarter(0, 1), a.quarter(1, 1))
        let (b11, b12, b21, b22) = (b.quarter(0, 0), b.quarter(0, 1), b.quarter(1, 0), b.quarter(1, 1))
        let wide = Strassen.stride(max(a11.columns, b11.columns))
        let s = StoredMatrix(scratch, rows: a11.rows, columns: a11.columns, stride: wide)
        let t = StoredMatrix(scratch + a11.rows * wide, rows: b11.rows, columns: b11.columns, stride: wide)
        let deeper = scratch + 2 * a11.rows * wide
        let one = Strassen.products(level - 1) * ((a11.columns * b11.columns) >> (2 * (level - 1)))
        func product(_ index: Int, _ a: StoredMatrix, _ b: StoredMatrix) {
            add(a, b, level - 1, sums + index * one, deeper)
        }
        product(0, a11, b11)
        product(1, a12, b21)
        s.become(a21, a22)
        t.become(b12, minus: true, b11)
        product(4, s, t)
        s.become(s, minus: true, a11)
        t.become(b22, minus: true, t)
        product(5, s, t)
        s.become(a12, minus: true, s)
        product(2, s, b22)
        t.become(t, minus: true, b21)
        product(3, a22, t)
        s.become(a11, minus: true, a21)
        t.become(b22, minus: true, b12)
        product(6, s, t)
    }

    /// Adds what `sums` amount to to C. The sums are used up.
    package func finish(_ sums: UnsafeMutablePointer<Float>, into c: StoredMatrix) {
        finish(sums, levels, c)
    }

    private func finish(_ sums: UnsafeMutablePointer<Float>, _ level: Int, _ c: StoredMatrix) {
        guard level > 0 else {
            let p = StoredMatrix(sums, rows: c.rows, columns: c.columns, stride: c.columns)
            c.become(c, p)
            return
        }
        let one = Strassen.products(level - 1) * ((c.rows * c.columns / 4) >> (2 * (level - 1)))
        func matrix(_ index: Int) -> UnsafeMutablePointer<Float> { sums + index * one }
        // The combinations are linear: those of the sums' own halves come first, all sevenths at once.
        func combine(_ x: Int, minus: Bool = false, _ y: Int, into out: Int) {
            StoredMatrix(matrix(out), rows: 1, columns: one, stride: one).become(
                StoredMatrix(matrix(x), rows: 1, columns: one, stride: one), minus: minus,
                StoredMatrix(matrix(y), rows: 1, columns: one, stride: one))
        }
        combine(0, 1, into: 1)  // P1 + P2
        combine(0, 5, into: 0)  // U2 = P1 + P6
        combine(0, 6, into: 6)  // U3 = U2 + P7
        combine(0, 4, into: 0)  // U2 + P5
        combine(0, 2, into: 2)  // + P3
        combine(6, minus: true, 3, into: 3)  // U3 - P4
        combine(6, 4, into: 4)  // U3 + P5
        finish(matrix(1), level - 1, c.quarter(0, 0))
        finish(matrix(2), level - 1, c.quarter(0, 1))
        finish(matrix(3), level - 1, c.quarter(1, 0))
        finish(matrix(4), level - 1, c.quarter(1, 1))
    }
}
