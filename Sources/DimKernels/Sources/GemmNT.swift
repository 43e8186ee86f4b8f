import CVectors
import DimKernelTypes

// The matrix product along k: both operands are read in vectors of k, so neither is packed. Made for few rows and for
// weights that are read once, where memory is the limit.

package func gemmNT(_ g: GemmNT) {
    // While one four of B's rows is multiplied, the next is fetched, a share with every tile.
    let tile = dotRows >= 4 && g.rows >= 4 ? 4 : g.rows >= 2 ? 2 : 1
    let tiles = (g.rows &+ tile &- 1) / tile
    let step = (lanes &+ tiles &- 1) / tiles
    var j = 0
    while j < g.columns {
        let columns = g.columns &- j
        var i = 0
        while i < g.rows {
            let next = columns >= 8 ? g.b + ((j &+ 4) &* g.bRow &+ i / tile &* g.depth / tiles) : nil
            let rows = g.rows &- i
            let a = g.a + i &* g.aRow
            let b = g.b + j &* g.bRow
            let c = g.c + (i &* g.cRow &+ j)
            if columns >= 4 {
                if dotRows >= 4, rows >= 4 {
                    dotTile(4, 4, a, b, c, g, next, step)
                    i &+= 4
                } else if rows >= 2 {
                    dotTile(2, 4, a, b, c, g, next, step)
                    i &+= 2
                } else {
                    dotTile(1, 4, a, b, c, g, next, step)
                    i &+= 1
                }
            } else {
                var column = 0
                while column < columns {
                    dotTile(1, 1, a, b + column &* g.bRow, c + column, g, nil, step)
                    column &+= 1
                }
                i &+= 1
            }
        }
        j &+= columns >= 4 ? 4 : columns
    }
}

/// One tile; `rows` and `columns` are constants at every call.
@_transparent
func dotTile(
    _ rows: Int, _ columns: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>,
    _ g: GemmNT, _ next: UnsafePointer<Float>?, _ step: Int
) {
    var s00 = Vector.zero, s01 = Vector.zero, s02 = Vector.zero, s03 = Vector.zero
    var s10 = Vector.zero, s11 = Vector.zero, s12 = Vector.zero, s13 = Vector.zero
    var s20 = Vector.zero, s21 = Vector.zero, s22 = Vector.zero, s23 = Vector.zero
    var s30 = Vector.zero, s31 = Vector.zero, s32 = Vector.zero, s33 = Vector.zero
    let whole = g.depth / lanes &* lanes
    var k = 0
    var ahead = next
    while k < whole {
        if let line = ahead {
            dim_prefetch(line)
            dim_prefetch(line + g.bRow)
            dim_prefetch(line + 2 &* g.bRow)
            dim_prefetch(line + 3 &* g.bRow)
            ahead = line + step
        }
        let b0 = load(b + k)
        let b1 = columns > 1 ? load(b + (g.bRow &+ k)) : b0
        let b2 = columns > 2 ? load(b + (2 &* g.bRow &+ k)) : b0
        let b3 = columns > 3 ? load(b + (3 &* g.bRow &+ k)) : b0
        let a0 = load(a + k)
        s00 = multiplyAdd(a0, b0, s00)
        if columns > 1 { s01 = multiplyAdd(a0, b1, s01) }
        if columns > 2 { s02 = multiplyAdd(a0, b2, s02) }
        if columns > 3 { s03 = multiplyAdd(a0, b3, s03) }
        if rows > 1 {
            let a1 = load(a + (g.aRow &+ k))
            s10 = multiplyAdd(a1, b0, s10)
            s11 = multiplyAdd(a1, b1, s11)
            s12 = multiplyAdd(a1, b2, s12)
            s13 = multiplyAdd(a1, b3, s13)
        }
        if rows > 2 {
            let a2 = load(a + (2 &* g.aRow &+ k))
            s20 = multiplyAdd(a2, b0, s20)
            s21 = multiplyAdd(a2, b1, s21)
            s22 = multiplyAdd(a2, b2, s22)
            s23 = multiplyAdd(a2, b3, s23)
        }
        if rows > 3 {
            let a3 = load(a + (3 &* g.aRow &+ k))
            s30 = multiplyAdd(a3, b0, s30)
            s31 = multiplyAdd(a3, b1, s31)
            s32 = multiplyAdd(a3, b2, s32)
            s33 = multiplyAdd(a3, b3, s33)
        }
        k &+= lanes
    }
    finishDot(s00, a, b, whole, c, g)
    if columns > 1 { finishDot(s01, a, b + g.bRow, whole, c + 1, g) }
    if columns > 2 { finishDot(s02, a, b + 2 &* g.bRow, whole, c + 2, g) }
    if columns > 3 { finishDot(s03, a, b + 3 &* g.bRow, whole, c + 3, g) }
    if rows > 1 {
        finishDots(s10, s11, s12, s13, a + g.aRow, b, whole, c + g.cRow, g)
    }
    if rows > 2 {
        finishDots(s20, s21, s22, s23, a + 2 &* g.aRow, b, whole, c + 2 &* g.cRow, g)
    }
    if rows > 3 {
        finishDots(s30, s31, s32, s33, a + 3 &* g.aRow, b, whole, c + 3 &* g.cRow, g)
    }
}

@inline(__always)
func finishDots(
    _ s0: Vector, _ s1: Vector, _ s2: Vector, _ s3: Vector, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    _ whole: Int, _ c: UnsafeMutablePointer<Float>, _ g: GemmNT
) {
    finishDot(s0, a, b, whole, c, g)
    finishDot(s1, a, b + g.bRow, whole, c + 1, g)
    finishDot(s2, a, b + 2 &* g.bRow, whole, c + 2, g)
    finishDot(s3, a, b + 3 &* g.bRow, whole, c + 3, g)
}

/// Adds the lanes, then what k leaves over past the last whole vector.
@inline(__always)
func finishDot(
    _ lanesSum: Vector, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ whole: Int,
    _ c: UnsafeMutablePointer<Float>, _ g: GemmNT
) {
    var total = sum(lanesSum)
    var k = whole
    while k < g.depth {
        total += a[k] * b[k]
        k &+= 1
    }
    c.pointee = g.accumulate ? c.pointee + total : total
}
