/// Where one call of the product's register tile finds its operands. The two vectors of B and C need not be neighbours.
///
/// It is declared here and not beside the tile: a type of a kernel module would bring helper functions that the linker
/// may merge with another module's (`tools/check/kernel-symbols.sh`).
package struct Tile {
    package var depth: Int
    package var a: UnsafePointer<Float>
    package var aRow: Int
    package var aStep: Int
    package var aBlock: Int
    package var aRun: Int
    package var aOffsets: UnsafePointer<Int>?
    package var b: UnsafePointer<Float>
    package var bRow: Int
    package var bNext: Int
    /// Rows of B that will be read after this tile's, to be fetched into the cache: so many for every block of k.
    package var ahead: UnsafePointer<Float>?
    package var aheadRows: Int
    package var c: UnsafeMutablePointer<Float>
    package var cRow: Int
    package var cNext: Int
    package var accumulate: Bool
    package var scale: UnsafePointer<Float>?
    package var bias: UnsafePointer<Float>?
    /// From the first vector's to the second's in `scale` and `bias`.
    package var columnNext: Int
    package var relu: Bool

    @inlinable
    package init(
        depth: Int, a: UnsafePointer<Float>, aRow: Int, aStep: Int, aBlock: Int, aRun: Int,
        aOffsets: UnsafePointer<Int>?,
        b: UnsafePointer<Float>, bRow: Int, bNext: Int, ahead: UnsafePointer<Float>?, aheadRows: Int,
        c: UnsafeMutablePointer<Float>, cRow: Int, cNext: Int,
        accumulate: Bool, scale: UnsafePointer<Float>?, bias: UnsafePointer<Float>?, columnNext: Int, relu: Bool
    ) {
        self.depth = depth
        self.a = a
        self.aRow = aRow
        self.aStep = aStep
        self.aBlock = aBlock
        self.aRun = aRun
        self.aOffsets = aOffsets
        self.b = b
        self.bRow = bRow
        self.bNext = bNext
        self.ahead = ahead
        self.aheadRows = aheadRows
        self.c = c
        self.cRow = cRow
        self.cNext = cNext
        self.accumulate = accumulate
        self.scale = scale
        self.bias = bias
        self.columnNext = columnNext
        self.relu = relu
    }
}
