import CVectors
import DimKernelTypes

// The register tile of the matrix product: `rows` rows by two vectors of columns, accumulated over all of k.

/// `rows` and `aRow` are constants at every call, so that what a smaller tile does not need is compiled away and the
/// accumulators stay in registers. Transparent, because the optimiser may decline `@inline(__always)` in a large caller.
@_transparent
func multiplyTile(_ rows: Int, aRow: Int, _ t: Tile) {
    var x0 = Vector.zero, y0 = Vector.zero
    var x1 = Vector.zero, y1 = Vector.zero
    var x2 = Vector.zero, y2 = Vector.zero
    var x3 = Vector.zero, y3 = Vector.zero
    var x4 = Vector.zero, y4 = Vector.zero
    var x5 = Vector.zero, y5 = Vector.zero
    var x6 = Vector.zero, y6 = Vector.zero
    var x7 = Vector.zero, y7 = Vector.zero
    var x8 = Vector.zero, y8 = Vector.zero
    var x9 = Vector.zero, y9 = Vector.zero
    var x10 = Vector.zero, y10 = Vector.zero
    var x11 = Vector.zero, y11 = Vector.zero
    var x12 = Vector.zero, y12 = Vector.zero
    var b = t.b
    var ahead = t.ahead
    if t.accumulate {
        // What the sums are added to, by the time they are finished.
        var row = 0
        while row < rows {
            dim_prefetch_for_write(t.c + row &* t.cRow)
            if lanes > 8 { dim_prefetch_for_write(t.c + (row &* t.cRow &+ t.cNext)) }
            row &+= 1
        }
    }
    var left = t.depth
    var block = 0
    while left > 0 {
        var a = t.a
        if let offsets = t.aOffsets { a += offsets[block] } else { a += block &* t.aBlock }
        var run = left < t.aRun ? left : t.aRun
        left &-= run
        block &+= 1
        // What comes next, from where the hardware does not guess it: blocks and panels lie apart.
        if aRow == 16 {
            var row = rows
            while row < 2 &* rows {
                dim_prefetch(a + row &* aRow)
                row &+= 1
            }
        }
        if var next = ahead {
            var row = 0
            while row < t.aheadRows {
                dim_prefetch(next)
                if lanes > 8 { dim_prefetch(next + t.bNext) }
                next += t.bRow
                row &+= 1
            }
            ahead = next
        }
        while run > 0 {
            let b0 = load(b)
            let b1 = load(b + t.bNext)
            let a0 = Vector(repeating: a[0])
            x0 = multiplyAdd(a0, b0, x0)
            y0 = multiplyAdd(a0, b1, y0)
            if rows > 1 {
                let a1 = Vector(repeating: a[1 &* aRow])
                x1 = multiplyAdd(a1, b0, x1)
                y1 = multiplyAdd(a1, b1, y1)
            }
            if rows > 2 {
                let a2 = Vector(repeating: a[2 &* aRow])
                x2 = multiplyAdd(a2, b0, x2)
                y2 = multiplyAdd(a2, b1, y2)
            }
            if rows > 3 {
                let a3 = Vector(repeating: a[3 &* aRow])
                x3 = multiplyAdd(a3, b0, x3)
                y3 = multiplyAdd(a3, b1, y3)
            }
            if rows > 4 {
                let a4 = Vector(repeating: a[4 &* aRow])
                x4 = multiplyAdd(a4, b0, x4)
                y4 = multiplyAdd(a4, b1, y4)
            }
            if rows > 5 {
                let a5 = Vector(repeating: a[5 &* aRow])
                x5 = multiplyAdd(a5, b0, x5)
                y5 = multiplyAdd(a5, b1, y5)
            }
            if rows > 6 {
                let a6 = Vector(repeating: a[6 &* aRow])
                x6 = multiplyAdd(a6, b0, x6)
                y6 = multiplyAdd(a6, b1, y6)
            }
            if rows > 7 {
                let a7 = Vector(repeating: a[7 &* aRow])
                x7 = multiplyAdd(a7, b0, x7)
                y7 = multiplyAdd(a7, b1, y7)
            }
            if rows > 8 {
                let a8 = Vector(repeating: a[8 &* aRow])
                x8 = multiplyAdd(a8, b0, x8)
                y8 = multiplyAdd(a8, b1, y8)
            }
            if rows > 9 {
                let a9 = Vector(repeating: a[9 &* aRow])
                x9 = multiplyAdd(a9, b0, x9)
                y9 = multiplyAdd(a9, b1, y9)
            }
            if rows > 10 {
                let a10 = Vector(repeating: a[10 &* aRow])
                x10 = multiplyAdd(a10, b0, x10)
                y10 = multiplyAdd(a10, b1, y10)
            }
            if rows > 11 {
                let a11 = Vector(repeating: a[11 &* aRow])
                x11 = multiplyAdd(a11, b0, x11)
                y11 = multiplyAdd(a11, b1, y11)
            }
            if rows > 12 {
                let a12 = Vector(repeating: a[12 &* aRow])
                x12 = multiplyAdd(a12, b0, x12)
                y12 = multiplyAdd(a12, b1, y12)
            }
            a += t.aStep
            b += t.bRow
            run &-= 1
        }
    }
    finishRow(x0, y0, t.c, t)
    if rows > 1 { finishRow(x1, y1, t.c + 1 &* t.cRow, t) }
    if rows > 2 { finishRow(x2, y2, t.c + 2 &* t.cRow, t) }
    if rows > 3 { finishRow(x3, y3, t.c + 3 &* t.cRow, t) }
    if rows > 4 { finishRow(x4, y4, t.c + 4 &* t.cRow, t) }
    if rows > 5 { finishRow(x5, y5, t.c + 5 &* t.cRow, t) }
    if rows > 6 { finishRow(x6, y6, t.c + 6 &* t.cRow, t) }
    if rows > 7 { finishRow(x7, y7, t.c + 7 &* t.cRow, t) }
    if rows > 8 { finishRow(x8, y8, t.c + 8 &* t.cRow, t) }
    if rows > 9 { finishRow(x9, y9, t.c + 9 &* t.cRow, t) }
    if rows > 10 { finishRow(x10, y10, t.c + 10 &* t.cRow, t) }
    if rows > 11 { finishRow(x11, y11, t.c + 11 &* t.cRow, t) }
    if rows > 12 { finishRow(x12, y12, t.c + 12 &* t.cRow, t) }
}

/// One or two rows by the 32 columns of a panel, four vectors: so few rows wait for B alone, which is read once, from front
/// to back, where the tile above would read every other cache line in each of two passes.
@_transparent
func multiplyWide(_ rows: Int, _ t: Tile, bHalf: Int, cHalf: Int) {
    var x0 = Vector.zero, y0 = Vector.zero, z0 = Vector.zero, w0 = Vector.zero
    var x1 = Vector.zero, y1 = Vector.zero, z1 = Vector.zero, w1 = Vector.zero
    var b = t.b
    var ahead = t.ahead
    var left = t.depth
    var block = 0
    while left > 0 {
        var a = t.a
        if let offsets = t.aOffsets { a += offsets[block] } else { a += block &* t.aBlock }
        var run = left < t.aRun ? left : t.aRun
        left &-= run
        block &+= 1
        while run > 0 {
            if let next = ahead {
                dim_prefetch(next)
                dim_prefetch(next + bHalf)
                ahead = next + t.bRow
            }
            let b0 = load(b)
            let b1 = load(b + t.bNext)
            let b2 = load(b + bHalf)
            let b3 = load(b + (bHalf &+ t.bNext))
            let a0 = Vector(repeating: a[0])
            x0 = multiplyAdd(a0, b0, x0)
            y0 = multiplyAdd(a0, b1, y0)
            z0 = multiplyAdd(a0, b2, z0)
            w0 = multiplyAdd(a0, b3, w0)
            if rows > 1 {
                let a1 = Vector(repeating: a[t.aRow])
                x1 = multiplyAdd(a1, b0, x1)
                y1 = multiplyAdd(a1, b1, y1)
                z1 = multiplyAdd(a1, b2, z1)
                w1 = multiplyAdd(a1, b3, w1)
            }
            a += t.aStep
            b += t.bRow
            run &-= 1
        }
    }
    var second = t
    second.scale = t.scale.map { $0 + 16 }
    second.bias = t.bias.map { $0 + 16 }
    finishRow(x0, y0, t.c, t)
    finishRow(z0, w0, t.c + cHalf, second)
    if rows > 1 {
        finishRow(x1, y1, t.c + t.cRow, t)
        finishRow(z1, w1, t.c + (t.cRow &+ cHalf), second)
    }
}

/// The columns of two panels at a time, four vectors, for lanes of 16: `rows`, at most six, by 64 columns. A load of A or B
/// serves 2.4 multiply-adds instead of 1.7, where loads are what a core is short of.
@_transparent
func multiplyBroad(_ rows: Int, aRow: Int, _ t: Tile, bPanel: Int, cPanel: Int) {
    var w0 = Vector.zero, x0 = Vector.zero, y0 = Vector.zero, z0 = Vector.zero
    var w1 = Vector.zero, x1 = Vector.zero, y1 = Vector.zero, z1 = Vector.zero
    var w2 = Vector.zero, x2 = Vector.zero, y2 = Vector.zero, z2 = Vector.zero
    var w3 = Vector.zero, x3 = Vector.zero, y3 = Vector.zero, z3 = Vector.zero
    var w4 = Vector.zero, x4 = Vector.zero, y4 = Vector.zero, z4 = Vector.zero
    var w5 = Vector.zero, x5 = Vector.zero, y5 = Vector.zero, z5 = Vector.zero
    var b = t.b
    var ahead = t.ahead
    if t.accumulate {
        var row = 0
        while row < rows {
            let c = t.c + row &* t.cRow
            dim_prefetch_for_write(c)
            dim_prefetch_for_write(c + t.cNext)
            dim_prefetch_for_write(c + cPanel)
            dim_prefetch_for_write(c + (cPanel &+ t.cNext))
            row &+= 1
        }
    }
    var left = t.depth
    var block = 0
    while left > 0 {
        var a = t.a
        if let offsets = t.aOffsets { a += offsets[block] } else { a += block &* t.aBlock }
        var run = left < t.aRun ? left : t.aRun
        left &-= run
        block &+= 1
        if aRow == 16 {
            var row = rows
            while row < 2 &* rows {
                dim_prefetch(a + row &* aRow)
                row &+= 1
            }
        }
        if var next = ahead {
            var row = 0
            while row < t.aheadRows {
                dim_prefetch(next)
                dim_prefetch(next + t.bNext)
                dim_prefetch(next + bPanel)
                dim_prefetch(next + (bPanel &+ t.bNext))
                next += t.bRow
                row &+= 1
            }
            ahead = next
        }
        while run > 0 {
            let b0 = load(b)
            let b1 = load(b + t.bNext)
            let b2 = load(b + bPanel)
            let b3 = load(b + (bPanel &+ t.bNext))
            let a0 = Vector(repeating: a[0])
            w0 = multiplyAdd(a0, b0, w0)
            x0 = multiplyAdd(a0, b1, x0)
            y0 = multiplyAdd(a0, b2, y0)
            z0 = multiplyAdd(a0, b3, z0)
            if rows > 1 {
                let a1 = Vector(repeating: a[1 &* aRow])
                w1 = multiplyAdd(a1, b0, w1)
                x1 = multiplyAdd(a1, b1, x1)
                y1 = multiplyAdd(a1, b2, y1)
                z1 = multiplyAdd(a1, b3, z1)
            }
            if rows > 2 {
                let a2 = Vector(repeating: a[2 &* aRow])
                w2 = multiplyAdd(a2, b0, w2)
                x2 = multiplyAdd(a2, b1, x2)
                y2 = multiplyAdd(a2, b2, y2)
                z2 = multiplyAdd(a2, b3, z2)
            }
            if rows > 3 {
                let a3 = Vector(repeating: a[3 &* aRow])
                w3 = multiplyAdd(a3, b0, w3)
                x3 = multiplyAdd(a3, b1, x3)
                y3 = multiplyAdd(a3, b2, y3)
                z3 = multiplyAdd(a3, b3, z3)
            }
            if rows > 4 {
                let a4 = Vector(repeating: a[4 &* aRow])
                w4 = multiplyAdd(a4, b0, w4)
                x4 = multiplyAdd(a4, b1, x4)
                y4 = multiplyAdd(a4, b2, y4)
                z4 = multiplyAdd(a4, b3, z4)
            }
            if rows > 5 {
                let a5 = Vector(repeating: a[5 &* aRow])
                w5 = multiplyAdd(a5, b0, w5)
                x5 = multiplyAdd(a5, b1, x5)
                y5 = multiplyAdd(a5, b2, y5)
                z5 = multiplyAdd(a5, b3, z5)
            }
            a += t.aStep
            b += t.bRow
            run &-= 1
        }
    }
    var second = t
    second.scale = t.scale.map { $0 + 32 }
    second.bias = t.bias.map { $0 + 32 }
    finishRow(w0, x0, t.c, t)
    finishRow(y0, z0, t.c + cPanel, second)
    if rows > 1 {
        finishRow(w1, x1, t.c + 1 &* t.cRow, t)
        finishRow(y1, z1, t.c + (1 &* t.cRow &+ cPanel), second)
    }
    if rows > 2 {
        finishRow(w2, x2, t.c + 2 &* t.cRow, t)
        finishRow(y2, z2, t.c + (2 &* t.cRow &+ cPanel), second)
    }
    if rows > 3 {
        finishRow(w3, x3, t.c + 3 &* t.cRow, t)
        finishRow(y3, z3, t.c + (3 &* t.cRow &+ cPanel), second)
    }
    if rows > 4 {
        finishRow(w4, x4, t.c + 4 &* t.cRow, t)
        finishRow(y4, z4, t.c + (4 &* t.cRow &+ cPanel), second)
    }
    if rows > 5 {
        finishRow(w5, x5, t.c + 5 &* t.cRow, t)
        finishRow(y5, z5, t.c + (5 &* t.cRow &+ cPanel), second)
    }
}

/// The epilogue of one row of the tile.
@inline(__always)
func finishRow(_ x: Vector, _ y: Vector, _ c: UnsafeMutablePointer<Float>, _ t: Tile) {
    var x = x
    var y = y
    if t.accumulate {
        x += load(c)
        y += load(c + t.cNext)
    }
    if let scale = t.scale {
        x *= load(scale)
        y *= load(scale + t.columnNext)
    }
    if let bias = t.bias {
        x += load(bias)
        y += load(bias + t.columnNext)
    }
    if t.relu {
        x = relu(x)
        y = relu(y)
    }
    store(x, c)
    store(y, c + t.cNext)
}

/// One function a number of rows: the optimiser gives up on inlining into functions that grow too large.
@inline(__always)
func multiplyTile(_ rows: Int, _ t: Tile) {
    switch rows {
    case 1: tile1(t)
    case 2: tile2(t)
    case 3: tile3(t)
    case 4: tile4(t)
    case 5: tile5(t)
    case 6: tile6(t)
    case 7: tile7(t)
    case 8: tile8(t)
    case 9: tile9(t)
    case 10: tile10(t)
    case 11: tile11(t)
    case 12: tile12(t)
    default: tile13(t)
    }
}

/// The row strides of blocked and of transposed operands become constant displacements.
@_transparent
func multiplyTile(_ rows: Int, anyRow t: Tile) {
    if rows > tileRows { return }
    if t.aRow == 16 {
        multiplyTile(rows, aRow: 16, t)
    } else if t.aRow == 1 {
        multiplyTile(rows, aRow: 1, t)
    } else {
        multiplyTile(rows, aRow: t.aRow, t)
    }
}

private func tile1(_ t: Tile) { multiplyTile(1, anyRow: t) }
private func tile2(_ t: Tile) { multiplyTile(2, anyRow: t) }
private func tile3(_ t: Tile) { multiplyTile(3, anyRow: t) }
private func tile4(_ t: Tile) { multiplyTile(4, anyRow: t) }
private func tile5(_ t: Tile) { multiplyTile(5, anyRow: t) }
private func tile6(_ t: Tile) { multiplyTile(6, anyRow: t) }
private func tile7(_ t: Tile) { multiplyTile(7, anyRow: t) }
private func tile8(_ t: Tile) { multiplyTile(8, anyRow: t) }
private func tile9(_ t: Tile) { multiplyTile(9, anyRow: t) }
private func tile10(_ t: Tile) { multiplyTile(10, anyRow: t) }
private func tile11(_ t: Tile) { multiplyTile(11, anyRow: t) }
private func tile12(_ t: Tile) { multiplyTile(12, anyRow: t) }
private func tile13(_ t: Tile) { multiplyTile(13, anyRow: t) }

/// The same for the broad tile.
@inline(__always)
func multiplyBroad(_ rows: Int, _ t: Tile, bPanel: Int, cPanel: Int) {
    switch rows {
    case 1: broad1(t, bPanel, cPanel)
    case 2: broad2(t, bPanel, cPanel)
    case 3: broad3(t, bPanel, cPanel)
    case 4: broad4(t, bPanel, cPanel)
    case 5: broad5(t, bPanel, cPanel)
    default: broad6(t, bPanel, cPanel)
    }
}

@_transparent
func multiplyBroad(_ rows: Int, anyRow t: Tile, _ bPanel: Int, _ cPanel: Int) {
    if rows > broadRows { return }
    if t.aRow == 16 {
        multiplyBroad(rows, aRow: 16, t, bPanel: bPanel, cPanel: cPanel)
    } else if t.aRow == 1 {
        multiplyBroad(rows, aRow: 1, t, bPanel: bPanel, cPanel: cPanel)
    } else {
        multiplyBroad(rows, aRow: t.aRow, t, bPanel: bPanel, cPanel: cPanel)
    }
}

private func broad1(_ t: Tile, _ bPanel: Int, _ cPanel: Int) { multiplyBroad(1, anyRow: t, bPanel, cPanel) }
private func broad2(_ t: Tile, _ bPanel: Int, _ cPanel: Int) { multiplyBroad(2, anyRow: t, bPanel, cPanel) }
private func broad3(_ t: Tile, _ bPanel: Int, _ cPanel: Int) { multiplyBroad(3, anyRow: t, bPanel, cPanel) }
private func broad4(_ t: Tile, _ bPanel: Int, _ cPanel: Int) { multiplyBroad(4, anyRow: t, bPanel, cPanel) }
private func broad5(_ t: Tile, _ bPanel: Int, _ cPanel: Int) { multiplyBroad(5, anyRow: t, bPanel, cPanel) }
private func broad6(_ t: Tile, _ bPanel: Int, _ cPanel: Int) { multiplyBroad(6, anyRow: t, bPanel, cPanel) }
