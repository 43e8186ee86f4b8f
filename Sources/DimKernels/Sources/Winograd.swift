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
    let plane = w.height &* w.width &* 16
    var block = w.firstBlock
    while block < w.firstBlock &+ w.blocks {
        let first = w.tiles.first
        var column = first % w.tiles.columns
        var row = first / w.tiles.columns % w.tiles.rows
        var image = w.source + (first / (w.tiles.columns &* w.tiles.rows) &* w.imageStride &+ block &* plane)
        var target = w.target + block &* w.blockStride
        var tile = 0
        while tile < w.tiles.count {
            let y = row &* step &- w.padding
            let x = column &* step &- w.padding
            prefetchWindow(image + (y &* w.width &+ x &+ window) &* 16, 16 &* w.width, rows: window, columns: step)
            let inside = y >= 0 && x >= 0 && y &+ window <= w.height && x &+ window <= w.width
            var lane = 0
            while lane < 16 {
                var pixels = image + ((y &* w.width &+ x) &* 16 &+ lane)
                var pixelStride = 16
                var rowStride = 16 &* w.width
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
func prefetchWindow(_ first: UnsafePointer<Float>, _ rowStride: Int, rows: Int, columns: Int) {
    var y = 0
    while y < rows {
        var x = 0
        while x < columns {
            dim_prefetch(first + (y &* rowStride &+ x &* 16))
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
    var target = staged
    var y = top
    while y < top &+ window {
        var x = left
        while x < left &+ window {
            if y >= 0 && y < w.height && x >= 0 && x < w.width {
                var pixel = load(image + (y &* w.width &+ x) &* 16)
                if w.scale != nil { pixel = relu(multiplyAdd(pixel, scale, shift)) }
                store(pixel, target)
            } else {
                store(.zero, target)
            }
            target += lanes
            x &+= 1
        }
        y &+= 1
    }
}

/// The m x m pixels of A^T M A for every tile and both blocks.
@_transparent
func transformOutput(_ w: WinogradOutput, points n: Int, m: Int, transform: Transform) {
    let result = w.scratch + n &* n &* lanes
    let plane = w.height &* w.width &* 16
    var channel = 0
    while channel < 32 {
        let half = channel / 16
        let scale = w.scale.map { load($0 + channel) } ?? .zero
        let bias = w.bias.map { load($0 + channel) } ?? .zero
        let first = w.tiles.first
        var column = first % w.tiles.columns
        var row = first / w.tiles.columns % w.tiles.rows
        var image =
            w.target + (first / (w.tiles.columns &* w.tiles.rows) &* w.imageStride &+ half &* plane &+ channel % 16)
        var source = w.source + (half &* w.halfStride &+ channel % 16)
        var tile = 0
        while tile < w.tiles.count {
            let y = row &* m
            let x = column &* m
            let rows = w.height &- y < m ? w.height &- y : m
            let columns = w.width &- x < m ? w.width &- x : m
            var pixels = image + (y &* w.width &+ x) &* 16
            prefetchForWrite(pixels, 16 &* w.width, rows: rows, columns: columns)
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
                    store(v, pixels + j &* 16)
                    j &+= 1
                }
                pixels += w.width &* 16
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

@_transparent
func prefetchForWrite(_ first: UnsafePointer<Float>, _ rowStride: Int, rows: Int, columns: Int) {
    var y = 0
    while y < rows {
        var x = 0
        while x < columns {
            dim_prefetch_for_write(first + (y &* rowStride &+ x &* 16))
            x &+= 1
        }
        y &+= 1
    }
}

/// U = G g G^T of 32 kernels at every k.
@_transparent
func transformWeights(_ w: WinogradWeights, points n: Int, r: Int, transform: Transform) {
    let gathered = w.scratch + n &* n &* lanes
    let area = r &* r
    var k = 0
    while k < w.depth {
        var first = 0
        while first < 32 {
            var lane = 0
            while lane < lanes {
                let kernel = w.source + (k &* w.depthStride &+ (first &+ lane) &* w.laneStride)
                var i = 0
                while i < area {
                    gathered[i &* lanes &+ lane] = kernel[w.rotated ? area &- 1 &- i : i]
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
    let area = r &* r
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
            while lane < lanes {
                let kernel = w.target + (k &* w.depthStride &+ (first &+ lane) &* w.laneStride)
                i = 0
                while i < area {
                    let v = result[i &* lanes &+ lane]
                    kernel[i] = w.accumulate ? kernel[i] + v : v
                    i &+= 1
                }
                lane &+= 1
            }
            first &+= lanes
        }
        k &+= 1
    }
}
