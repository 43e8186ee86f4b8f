import CVectors
import DimKernelTypes

// The two-dimensional Winograd transforms: a pass over columns into scratch memory, a pass over rows out of it, each by the
// straight-line transform of one dimension that WinogradTransforms.swift hands in. A vector holds one pixel's channels.

/// A transform of one dimension: from vectors `stride` apart to vectors `targetStride` apart.
typealias Transform = (
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) -> Void

/// target = T window T^T for every tile, T of `n` x `window`.
@_transparent
func transformWindows(_ w: WinogradWindows, window: Int, points n: Int, step: Int, transform: Transform) {
    let staged = w.scratch + n &* n &* lanes
    let inner = (window &- 1) &* w.step
    var block = w.firstBlock
    while block < w.firstBlock &+ w.blocks {
        let first = w.tiles.first
        var column = first % w.tiles.columns
        var row = first / w.tiles.columns % w.tiles.rows
        var image = w.source + (first / (w.tiles.columns &* w.tiles.rows) &* w.imageStride &+ block &* w.sourceBlock)
        var target = w.target + block &* w.blockStride
        var tile = 0
        while tile < w.tiles.count {
            let y = row &* step &* w.step &- w.rowPadding
            let x = column &* step &* w.step &- w.columnPadding
            prefetchWindow(
                image + (y &* w.width &+ x &+ window &* w.step) &* 16, 16 &* w.width &* w.step, 16 &* w.step,
                rows: window, columns: step)
            let inside = y >= 0 && x >= 0 && y &+ inner < w.height && x &+ inner < w.width
            var lane = 0
            while lane < 16 {
                var pixels = image + ((y &* w.width &+ x) &* 16 &+ lane)
                var pixelStride = 16 &* w.step
                var rowStride = 16 &* w.width &* w.step
                if !inside || w.scale != nil {
                    stageWindow(w, window, y, x, image + lane, block &* 16 &+ lane, staged)
                    pixels = UnsafePointer(staged)
                    pixelStride = lanes
                    rowStride = window &* lanes
                }
                var i = 0
                while i < window {
                    transform(pixels + i &* pixelStride, rowStride, w.scratch + i &* lanes, window &* lanes)
                    i &+= 1
                }
                i = 0
                while i < n {
                    transform(
                        w.scratch + i &* window &* lanes, lanes, target + (i &* n &* w.pointStride &+ lane),
                        w.pointStride)
                    i &+= 1
                }
                lane &+= lanes
            }
            target += 16
            tile &+= 1
            column &+= 1
            if column == w.tiles.columns {
                column = 0
                row &+= 1
                if row == w.tiles.rows {
                    row = 0
                    image += w.imageStride
                }
            }
        }
        block &+= 1
    }
}

/// Asks for the pixels that the next tile of the row reads and this one does not. At a row's end they are of no use, but a
/// prefetch may be of any address.
@_transparent
func prefetchWindow(
    _ first: UnsafePointer<Float>, _ rowStride: Int, _ pixelStride: Int, rows: Int, columns: Int, forWrite: Bool = false
) {
    var y = 0
    while y < rows {
        var x = 0
        while x < columns {
            let pixel = first + (y &* rowStride &+ x &* pixelStride)
            if forWrite { dim_prefetch_for_write(pixel) } else { dim_prefetch(pixel) }
            x &+= 1
        }
        y &+= 1
    }
}

/// Copies a window that needs more than a load: zeros outside the image, the affine map and ReLU inside.
func stageWindow(
    _ w: WinogradWindows, _ window: Int, _ top: Int, _ left: Int, _ image: UnsafePointer<Float>, _ channel: Int,
    _ staged: UnsafeMutablePointer<Float>
) {
    var scale = Vector.zero
    var shift = Vector.zero
    if let s = w.scale, let t = w.shift {
        scale = load(s + channel)
        shift = load(t + channel)
    }
    // Columns of the window that are inside.
    let from = left >= 0 ? 0 : (w.step &- 1 &- left) / w.step
    let to = left >= w.width ? 0 : (w.width &- left &+ w.step &- 1) / w.step
    var target = staged
    var y = top
    var i = 0
    while i < window {
        let line = image + (y &* w.width &+ left) &* 16
        let isInside = y >= 0 && y < w.height
        var j = 0
        while j < window {
            if isInside && j >= from && j < to {
                var pixel = load(line + j &* w.step &* 16)
                if w.scale != nil { pixel = relu(multiplyAdd(pixel, scale, shift)) }
                store(pixel, target)
            } else {
                store(.zero, target)
            }
            target += lanes
            j &+= 1
        }
        y &+= w.step
        i &+= 1
    }
}

/// The m x m pixels of A^T M A for every tile and both blocks.
@_transparent
func transformOutput(_ w: WinogradOutput, points n: Int, m: Int, transform: Transform) {
    let result = w.scratch + n &* n &* lanes
    // Pixels of the phase.
    let height = (w.height &- w.rowOffset &+ w.step &- 1) / w.step
    let width = (w.width &- w.columnOffset &+ w.step &- 1) / w.step
    let rowStride = w.width &* 16 &* w.step
    let pixelStride = 16 &* w.step
    let offset = (w.rowOffset &* w.width &+ w.columnOffset) &* 16
    var channel = 0
    while channel < 32 {
        let half = channel / 16
        let scale = w.scale.map { load($0 + channel) } ?? .zero
        let bias = w.bias.map { load($0 + channel) } ?? .zero
        let first = w.tiles.first
        var column = first % w.tiles.columns
        var row = first / w.tiles.columns % w.tiles.rows
        var image =
            w.target + (first / (w.tiles.columns &* w.tiles.rows) &* w.imageStride &+ half &* w.targetBlock)
            + (offset &+ channel % 16)
        var source = w.source + (half &* w.halfStride &+ channel % 16)
        var tile = 0
        while tile < w.tiles.count {
            let y = row &* m
            let x = column &* m
            let rows = height &- y < m ? height &- y : m
            let columns = width &- x < m ? width &- x : m
            var pixels = image + (y &* rowStride &+ x &* pixelStride)
            prefetchWindow(pixels, rowStride, pixelStride, rows: rows, columns: columns, forWrite: true)
            var i = 0
            while i < n {
                transform(source + i &* w.pointStride, n &* w.pointStride, w.scratch + i &* lanes, n &* lanes)
                i &+= 1
            }
            i = 0
            while i < rows {
                transform(w.scratch + i &* n &* lanes, lanes, result, lanes)
                var j = 0
                while j < columns {
                    var v = load(result + j &* lanes)
                    if w.scale != nil { v *= scale }
                    if w.bias != nil { v += bias }
                    if w.relu { v = relu(v) }
                    if w.accumulate { v += load(pixels + j &* pixelStride) }
                    store(v, pixels + j &* pixelStride)
                    j &+= 1
                }
                pixels += rowStride
                i &+= 1
            }
            source += 16
            tile &+= 1
            column &+= 1
            if column == w.tiles.columns {
                column = 0
                row &+= 1
                if row == w.tiles.rows {
                    row = 0
                    image += w.imageStride
                }
            }
        }
        channel &+= lanes
    }
}

/// U = G g G^T of 32 kernels at every k.
@_transparent
func transformWeights(_ w: WinogradWeights, points n: Int, r: Int, transform: Transform) {
    let gathered = w.scratch + n &* n &* lanes
    let taps = w.taps
    let last = (taps.rows &- 1) &* r &+ taps.columns &- 1
    var k = 0
    if taps.rows < r || taps.columns < r {
        while k < r &* r {
            store(.zero, gathered + k &* lanes)
            k &+= 1
        }
        k = 0
    }
    while k < w.depth {
        var first = 0
        while first < 32 {
            var lane = 0
            while lane < lanes {
                let kernel = w.source + (k &* w.depthStride &+ (first &+ lane) &* w.laneStride)
                let isThere = first &+ lane < taps.lanes
                var i = 0
                while i < taps.rows {
                    var j = 0
                    while j < taps.columns {
                        let at = w.rotated ? last &- i &* r &- j : i &* r &+ j
                        gathered[at &* lanes &+ lane] = isThere ? kernel[i &* taps.rowStep &+ j &* taps.columnStep] : 0
                        j &+= 1
                    }
                    i &+= 1
                }
                lane &+= 1
            }
            var i = 0
            while i < r {
                transform(UnsafePointer(gathered) + i &* lanes, r &* lanes, w.scratch + i &* lanes, r &* lanes)
                i &+= 1
            }
            i = 0
            while i < n {
                transform(
                    w.scratch + i &* r &* lanes, lanes,
                    w.target + (i &* n &* w.pointStride &+ k &* 32 &+ first), w.pointStride)
                i &+= 1
            }
            first &+= lanes
        }
        k &+= 1
    }
}

/// dg = G^T dU G of 32 kernels at every k.
@_transparent
func transformWeightGradient(_ w: WinogradWeightGradient, points n: Int, r: Int, transform: Transform) {
    let result = w.scratch + n &* n &* lanes
    let taps = w.taps
    var k = 0
    while k < w.depth {
        var first = 0
        while first < 32 {
            let source = w.source + (k &* 32 &+ first)
            var i = 0
            while i < n {
                transform(source + i &* w.pointStride, n &* w.pointStride, w.scratch + i &* lanes, n &* lanes)
                i &+= 1
            }
            i = 0
            while i < r {
                transform(w.scratch + i &* n &* lanes, lanes, result + i &* r &* lanes, lanes)
                i &+= 1
            }
            var lane = 0
            while lane < lanes && first &+ lane < taps.lanes {
                let kernel = w.target + (k &* w.depthStride &+ (first &+ lane) &* w.laneStride)
                i = 0
                while i < taps.rows {
                    var j = 0
                    while j < taps.columns {
                        let at = i &* taps.rowStep &+ j &* taps.columnStep
                        let v = result[(i &* r &+ j) &* lanes &+ lane]
                        kernel[at] = w.accumulate ? kernel[at] + v : v
                        j &+= 1
                    }
                    i &+= 1
                }
                lane &+= 1
            }
            first &+= lanes
        }
        k &+= 1
    }
}
