/// One matrix product, C = A B or C += A B, as a kernel takes it. Nothing is owned; every stride counts floats.
///
///     A(r, k)  at  a + r*aRow + offset(k / aRun) + (k % aRun)*aStep,  offset(q) = aOffsets?[q] ?? q*aBlock
///     B(k, j)  at  b + (j / 32)*bPanel + k*bRow + (j % 32 / 16)*bHalf + j % 16
///     C(r, j)  at  c + r*cRow + (j / 32)*cPanel + (j % 32 / 16)*cHalf + j % 16
///
/// So the rows of A may be the pixels of a blocked (NCHW16c) activation (aRow 16, aStep 1, aBlock H*W*16), those of a
/// row-major matrix (aStep 1, aBlock 16), those of a transposed one (aRow 1, aStep lda, aBlock 16*lda), or, with a table of
/// offsets, the windows of a convolution. B and C are 32 columns wide at a time, on every instruction set.
///
/// Each element of the product is one chain of multiply-adds over k in order, whatever the other rows and columns are:
/// a row's result depends on that row alone. (Where `columns` is not a multiple of 32, the chain of the last panel's
/// elements is broken every 64 steps.) With `accumulate` the finished sum is added to what C holds.
/// At the end C = max(C*scale + bias, 0), as far as these are given.
package struct Gemm {
    package var rows: Int
    package var columns: Int
    package var depth: Int

    package var a: UnsafePointer<Float>
    package var aRow: Int
    package var aStep: Int
    package var aBlock: Int
    package var aRun: Int
    package var aOffsets: UnsafePointer<Int>?

    package var b: UnsafePointer<Float>
    package var bRow: Int
    package var bHalf: Int
    package var bPanel: Int
    /// The first panel of the product that comes next, if it is known: it is fetched into the cache.
    package var bAfter: UnsafePointer<Float>?

    package var c: UnsafeMutablePointer<Float>
    package var cRow: Int
    package var cHalf: Int
    package var cPanel: Int

    package var accumulate: Bool
    /// One value a column, or nil.
    package var scale: UnsafePointer<Float>?
    package var bias: UnsafePointer<Float>?
    package var relu: Bool

    /// `bPanel` defaults to packed panels, one after another; `cPanel` to two halves.
    package init(
        rows: Int, columns: Int, depth: Int,
        a: UnsafePointer<Float>, aRow: Int, aStep: Int = 1, aBlock: Int = 16, aRun: Int = 16,
        aOffsets: UnsafePointer<Int>? = nil,
        b: UnsafePointer<Float>, bRow: Int = 32, bHalf: Int = 16, bPanel: Int? = nil,
        bAfter: UnsafePointer<Float>? = nil,
        c: UnsafeMutablePointer<Float>, cRow: Int, cHalf: Int = 16, cPanel: Int? = nil,
        accumulate: Bool = false, scale: UnsafePointer<Float>? = nil, bias: UnsafePointer<Float>? = nil,
        relu: Bool = false
    ) {
        self.rows = rows
        self.columns = columns
        self.depth = depth
        self.a = a
        self.aRow = aRow
        self.aStep = aStep
        self.aBlock = aBlock
        self.aRun = aRun
        self.aOffsets = aOffsets
        self.b = b
        self.bRow = bRow
        self.bHalf = bHalf
        self.bPanel = bPanel ?? depth * 32
        self.bAfter = bAfter
        self.c = c
        self.cRow = cRow
        self.cHalf = cHalf
        self.cPanel = cPanel ?? 2 * cHalf
        self.accumulate = accumulate
        self.scale = scale
        self.bias = bias
        self.relu = relu
    }
}

/// A product of two matrices stored along k, C(i, j) (+)= sum over k of A(i, k) B(j, k):
///
///     A(i, k) at a + i*aRow + k,   B(j, k) at b + j*bRow + k,   C(i, j) at c + i*cRow + j
///
/// PyTorch's linear layers as they are, weights [out][in]. An element's sum runs in the same order whatever the other rows
/// are: one accumulator a vector lane, the lanes added at the end.
package struct GemmNT {
    package var rows: Int
    package var columns: Int
    package var depth: Int
    package var a: UnsafePointer<Float>
    package var aRow: Int
    package var b: UnsafePointer<Float>
    package var bRow: Int
    package var c: UnsafeMutablePointer<Float>
    package var cRow: Int
    package var accumulate: Bool

    package init(
        rows: Int, columns: Int, depth: Int,
        a: UnsafePointer<Float>, aRow: Int, b: UnsafePointer<Float>, bRow: Int,
        c: UnsafeMutablePointer<Float>, cRow: Int, accumulate: Bool = false
    ) {
        self.rows = rows
        self.columns = columns
        self.depth = depth
        self.a = a
        self.aRow = aRow
        self.b = b
        self.bRow = bRow
        self.c = c
        self.cRow = cRow
        self.accumulate = accumulate
    }
}
