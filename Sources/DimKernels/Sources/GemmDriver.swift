import DimKernelTypes

// The matrix product over whole operands: panels of 32 columns, tiles of rows, and what is left over.

package func gemm(_ g: Gemm) {
    guard g.rows > 0, g.columns > 0, g.depth > 0 else { return }
    let panels = g.columns / 32
    var panel = 0
    if broadRows > 0, g.rows <= broadRows || g.rows > tileRows {
        while panel &+ 1 < panels {
            multiplyPanels(g, panel)
            panel &+= 2
        }
    }
    while panel < panels {
        if lanes == 8, g.rows <= 2 { multiplyWidePanel(g, panel) } else { multiplyPanel(g, panel) }
        panel &+= 1
    }
    if panels &* 32 < g.columns { multiplyNarrowPanel(g, panel) }
}

/// All rows of one full panel, as many columns at a time as two vectors hold.
@inline(__always)
private func multiplyPanel(_ g: Gemm, _ panel: Int) {
    var column = 0
    while column < 32 {
        let second = column &+ lanes
        let half = column / 16
        let bFirst = half &* g.bHalf &+ column % 16
        let cFirst = half &* g.cHalf &+ column % 16
        let first = panel &* 32 &+ column
        // The columns after these, or the next panel's.
        let after =
            second &+ lanes < 32
            ? g.b + (panel &* g.bPanel &+ (second &+ lanes) / 16 &* g.bHalf &+ (second &+ lanes) % 16)
            : panel &+ 1 < g.columns / 32 ? g.b + (panel &+ 1) &* g.bPanel : g.bAfter
        let tile = Tile(
            depth: g.depth, a: g.a, aRow: g.aRow, aStep: g.aStep, aBlock: g.aBlock, aRun: g.aRun, aOffsets: g.aOffsets,
            b: g.b + (panel &* g.bPanel &+ bFirst), bRow: g.bRow,
            bNext: second / 16 &* g.bHalf &+ second % 16 &- bFirst, ahead: after, aheadRows: 0,
            c: g.c + (panel &* g.cPanel &+ cFirst), cRow: g.cRow,
            cNext: second / 16 &* g.cHalf &+ second % 16 &- cFirst,
            accumulate: g.accumulate,
            scale: g.scale.map { $0 + first }, bias: g.bias.map { $0 + first }, columnNext: lanes, relu: g.relu)
        multiplyRows(g.rows, tile)
        column &+= 2 &* lanes
    }
}

/// All columns of one full panel at a time, of one or two rows.
private func multiplyWidePanel(_ g: Gemm, _ panel: Int) {
    let first = panel &* 32
    let tile = Tile(
        depth: g.depth, a: g.a, aRow: g.aRow, aStep: g.aStep, aBlock: g.aBlock, aRun: g.aRun, aOffsets: g.aOffsets,
        b: g.b + panel &* g.bPanel, bRow: g.bRow, bNext: lanes,
        ahead: panel &+ 1 < g.columns / 32 ? g.b + (panel &+ 1) &* g.bPanel : g.bAfter, aheadRows: 0,
        c: g.c + panel &* g.cPanel, cRow: g.cRow, cNext: lanes, accumulate: g.accumulate,
        scale: g.scale.map { $0 + first }, bias: g.bias.map { $0 + first }, columnNext: lanes, relu: g.relu)
    if g.rows == 1 {
        multiplyWide(1, tile, bHalf: g.bHalf, cHalf: g.cHalf)
    } else {
        multiplyWide(2, tile, bHalf: g.bHalf, cHalf: g.cHalf)
    }
}

/// All rows of two full panels.
private func multiplyPanels(_ g: Gemm, _ panel: Int) {
    let first = panel &* 32
    let tile = Tile(
        depth: g.depth, a: g.a, aRow: g.aRow, aStep: g.aStep, aBlock: g.aBlock, aRun: g.aRun, aOffsets: g.aOffsets,
        b: g.b + panel &* g.bPanel, bRow: g.bRow, bNext: g.bHalf,
        ahead: panel &+ 2 < g.columns / 32 ? g.b + (panel &+ 2) &* g.bPanel : g.bAfter, aheadRows: 0,
        c: g.c + panel &* g.cPanel, cRow: g.cRow, cNext: g.cHalf, accumulate: g.accumulate,
        scale: g.scale.map { $0 + first }, bias: g.bias.map { $0 + first }, columnNext: 16, relu: g.relu)
    multiplyRows(g.rows, tile, isBroad: true, bPanel: g.bPanel, cPanel: g.cPanel)
}

/// Splits the rows as evenly as the tile allows: 25 rows are 13 + 12, not 13 + 11 + 1. A broad tile has two panels, `bPanel` and
/// `cPanel` apart.
private func multiplyRows(_ rows: Int, _ whole: Tile, isBroad: Bool = false, bPanel: Int = 0, cPanel: Int = 0) {
    let most = isBroad ? broadRows : tileRows
    var tile = whole
    var left = rows
    var tiles = (rows &+ most &- 1) / most
    tile.aheadRows = (15 &+ tiles) / tiles
    let ahead = tile.aheadRows &* (tile.depth / 16) &* tile.bRow
    while tiles > 0 {
        let now = (left &+ tiles &- 1) / tiles
        if isBroad {
            multiplyBroad(now, tile, bPanel: bPanel, cPanel: cPanel)
        } else {
            multiplyTile(now, tile)
        }
        tile.ahead = tile.ahead.map { $0 + ahead }
        tile.a += now &* tile.aRow
        tile.c += now &* tile.cRow
        left &-= now
        tiles &-= 1
    }
}

/// The last panel where it has fewer than 32 columns. B is copied, 64 rows at a time, into a full panel, and C comes and
/// goes by a full tile's copy, so that nothing outside the operands is read or written.
private func multiplyNarrowPanel(_ g: Gemm, _ panel: Int) {
    withUnsafeTemporaryAllocation(byteCount: (64 + 16 + 2) * 32 * 4, alignment: 64) { raw in
        let bCopy = raw.baseAddress!.assumingMemoryBound(to: Float.self)
        let cCopy = bCopy + 64 * 32
        let scale = cCopy + 16 * 32
        let bias = scale + 32
        let width = g.columns &- panel &* 32
        let b = g.b + panel &* g.bPanel
        let c = g.c + panel &* g.cPanel
        // Chunks of k are whole runs of A, or parts of one run where a run is long.
        let long = g.aRun > 64
        let chunk = long ? 64 : 64 / g.aRun &* g.aRun
        var j = 0
        while j < 32 {
            scale[j] = j < width ? (g.scale.map { $0[panel &* 32 &+ j] } ?? 1) : 0
            bias[j] = j < width ? (g.bias.map { $0[panel &* 32 &+ j] } ?? 0) : 0
            j &+= 1
        }
        var k = 0
        while k < g.depth {
            let inRun = k % g.aRun
            var depth = g.depth &- k < chunk ? g.depth &- k : chunk
            if long, depth > g.aRun &- inRun { depth = g.aRun &- inRun }
            var q = 0
            while q < depth {
                j = 0
                while j < 32 {
                    bCopy[q &* 32 &+ j] = j < width ? b[(k &+ q) &* g.bRow &+ j / 16 &* g.bHalf &+ j % 16] : 0
                    j &+= 1
                }
                q &+= 1
            }
            let block = k / g.aRun
            var a = g.a + inRun &* g.aStep
            if g.aOffsets == nil { a += block &* g.aBlock }
            let last = k &+ depth == g.depth
            let add = g.accumulate || k > 0
            var row = 0
            while row < g.rows {
                let rows = g.rows &- row < tileRows ? g.rows &- row : tileRows
                if add { copyTile(from: c + row &* g.cRow, g.cRow, g.cHalf, to: cCopy, 32, 16, rows, width) }
                var column = 0
                while column < 32 {
                    let tile = Tile(
                        depth: depth, a: a + row &* g.aRow, aRow: g.aRow, aStep: g.aStep, aBlock: g.aBlock,
                        aRun: g.aRun,
                        aOffsets: g.aOffsets.map { $0 + block }, b: bCopy + column, bRow: 32, bNext: lanes, ahead: nil,
                        aheadRows: 0, c: cCopy + column, cRow: 32, cNext: lanes, accumulate: add,
                        scale: last && g.scale != nil ? UnsafePointer(scale + column) : nil,
                        bias: last && g.bias != nil ? UnsafePointer(bias + column) : nil,
                        columnNext: lanes, relu: last && g.relu)
                    multiplyRows(rows, tile)
                    column &+= 2 &* lanes
                }
                copyTile(from: cCopy, 32, 16, to: c + row &* g.cRow, g.cRow, g.cHalf, rows, width)
                row &+= rows
            }
            k &+= depth
        }
    }
}

@inline(__always)
private func copyTile(
    from source: UnsafePointer<Float>, _ sourceRow: Int, _ sourceHalf: Int,
    to target: UnsafeMutablePointer<Float>, _ targetRow: Int, _ targetHalf: Int, _ rows: Int, _ width: Int
) {
    var r = 0
    while r < rows {
        var j = 0
        while j < width {
            target[r &* targetRow &+ j / 16 &* targetHalf &+ j % 16] =
                source[r &* sourceRow &+ j / 16 &* sourceHalf &+ j % 16]
            j &+= 1
        }
        r &+= 1
    }
}
