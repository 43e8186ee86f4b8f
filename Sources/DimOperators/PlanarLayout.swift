import DimArchitecture
import DimRuntime

/// Between PyTorch's planes, (n, c, h, w), and activations.
package enum PlanarLayout {
    /// x = (planes - mean) / std, one of each a channel; both empty: as they are. A block without channels is cleared, unless
    /// nobody reads it (`PatchConvolution.readsEmptyBlocks`).
    package static func load(
        _ planes: UnsafePointer<Float>, mean: [Float], std: [Float], into x: Activation, emptyBlocks: Bool = true
    ) {
        let (channels, pixels) = (x.shape.channels, x.shape.pixels)
        let blocks = emptyBlocks ? x.blocks : (channels + 15) / 16
        ThreadPool.shared.parallel(x.images * blocks) { task, _ in
            let (image, block) = (task / blocks, task % blocks)
            let target = x.block(block) + image * pixels * 16
            let count = min(16, channels - block * 16)
            guard count > 0 else { return target.update(repeating: 0, count: pixels * 16) }
            let source = planes + (image * channels + block * 16) * pixels
            if mean.isEmpty {
                turn(source, channels: count, pixels: pixels, into: target) { value, _ in value }
            } else {
                turn(source, channels: count, pixels: pixels, into: target) { value, channel in
                    (value - mean[block * 16 + channel]) / std[block * 16 + channel]
                }
            }
        }
    }

    /// (channels, pixels) to (pixels, 16), each value by `map`; lanes past the last channel are 0.
    @inline(__always)
    private static func turn(
        _ x: UnsafePointer<Float>, channels: Int, pixels: Int, into out: UnsafeMutablePointer<Float>,
        _ map: (SIMD4<Float>, _ channel: Int) -> SIMD4<Float>
    ) {
        let whole = pixels & ~3
        for p in stride(from: 0, to: whole, by: 4) {
            @inline(__always)
            func row(_ channel: Int) -> SIMD4<Float> {
                channel < channels ? map(load4(x + channel * pixels + p), channel) : SIMD4(repeating: 0)
            }
            for c in stride(from: 0, to: 16, by: 4) {
                let turned = turn4(row(c), row(c + 1), row(c + 2), row(c + 3))
                let at = out + p * 16 + c
                store4(turned.0, at)
                store4(turned.1, at + 16)
                store4(turned.2, at + 32)
                store4(turned.3, at + 48)
            }
        }
        for p in whole..<pixels {
            for c in 0..<16 {
                out[p * 16 + c] = c < channels ? map(SIMD4(repeating: x[c * pixels + p]), c)[0] : 0
            }
        }
    }

    package static func store(_ x: Activation, into planes: UnsafeMutablePointer<Float>) {
        let (channels, pixels) = (x.shape.channels, x.shape.pixels)
        let blocks = (channels + 15) / 16
        ThreadPool.shared.parallel(x.images * blocks) { task, _ in
            let (image, block) = (task / blocks, task % blocks)
            BlockedLayout.transpose(
                x.block(block) + image * pixels * 16, rows: pixels, columns: min(16, channels - block * 16), stride: 16,
                into: planes + (image * channels + block * 16) * pixels, stride: pixels)
        }
    }
}

/// torch.flatten of maps: feature c * pixels + p of a vector is channel c at pixel p.
package enum Flatten {
    /// Pixels that are turned at a time: 16 channels of them stay on the stack.
    private static let tile = 64

    package static func forward(_ x: Activation, into y: Activation) {
        let features = x.shape.size
        if isWhole(x) {
            eachSixteen(x) { image, channels, map, vector in
                BlockedLayout.transpose(
                    map, rows: 16, columns: channels, stride: 16, into: y.block(vector) + image * 16,
                    stride: x.shape.pixels / 16 * y.blockStride)
            }
        } else {
            forwardByTiles(x, into: y)
        }
        // Past the last feature.
        for block in features / 16..<y.blocks {
            let from = max(0, features - block * 16)
            for image in 0..<y.images {
                (y.block(block) + image * 16 + from).update(repeating: 0, count: 16 - from)
            }
        }
    }

    package static func backward(_ dy: Activation, into dx: Activation) {
        if isWhole(dx) {
            eachSixteen(dx) { image, channels, map, vector in
                if channels < 16 { map.update(repeating: 0, count: 256) }
                BlockedLayout.transpose(
                    dy.block(vector) + image * 16, rows: channels, columns: 16,
                    stride: dx.shape.pixels / 16 * dy.blockStride, into: map, stride: 16)
            }
        } else {
            backwardByTiles(dy, into: dx)
        }
        if dx.shape.channels <= dx.blocks * 16 - 16 {
            dx.block(dx.blocks - 1).update(repeating: 0, count: dx.rows * 16)
        }
    }

    // Where a map has a multiple of 16 pixels, 16 of a channel are 16 lanes of a vector's block: they are turned in place.

    private static func isWhole(_ map: Activation) -> Bool { map.shape.pixels % 16 == 0 }

    /// 16 pixels of 16 channels: `map` is their place, `vector` the vector's block that has the first channel's.
    private static func eachSixteen(
        _ x: Activation,
        _ body: (_ image: Int, _ channels: Int, _ map: UnsafeMutablePointer<Float>, _ vector: Int) -> Void
    ) {
        let pixels = x.shape.pixels
        let blocks = (x.shape.channels + 15) / 16
        ThreadPool.shared.parallel(x.images * blocks) { task, _ in
            let (image, block) = (task / blocks, task % blocks)
            for first in stride(from: 0, to: pixels, by: 16) {
                body(
                    image, min(16, x.shape.channels - block * 16),
                    x.block(block) + (image * pixels + first) * 16, block * pixels + first / 16)
            }
        }
    }

    // Any map: pixels are turned on the stack, and runs of a channel copied to or from the vector.

    private static func forwardByTiles(_ x: Activation, into y: Activation) {
        eachTile(x) { image, block, pixels, tile in
            let channels = min(16, x.shape.channels - block * 16)
            BlockedLayout.transpose(
                x.block(block) + (image * x.shape.pixels + pixels.lowerBound) * 16, rows: pixels.count,
                columns: channels, stride: 16, into: tile, stride: Flatten.tile)
            for c in 0..<channels {
                eachRun((block * 16 + c) * x.shape.pixels + pixels.lowerBound, pixels.count) { feature, done, count in
                    (y.block(feature / 16) + image * 16 + feature % 16)
                        .update(from: tile + c * Flatten.tile + done, count: count)
                }
            }
        }
    }

    private static func backwardByTiles(_ dy: Activation, into dx: Activation) {
        eachTile(dx) { image, block, pixels, tile in
            let channels = min(16, dx.shape.channels - block * 16)
            for c in 0..<channels {
                eachRun((block * 16 + c) * dx.shape.pixels + pixels.lowerBound, pixels.count) { feature, done, count in
                    (tile + c * Flatten.tile + done)
                        .update(from: dy.block(feature / 16) + image * 16 + feature % 16, count: count)
                }
            }
            let target = dx.block(block) + (image * dx.shape.pixels + pixels.lowerBound) * 16
            if channels < 16 { target.update(repeating: 0, count: pixels.count * 16) }
            BlockedLayout.transpose(
                tile, rows: channels, columns: pixels.count, stride: Flatten.tile, into: target, stride: 16)
        }
    }

    private static func eachTile(
        _ map: Activation, _ body: (_ image: Int, _ block: Int, Range<Int>, UnsafeMutablePointer<Float>) -> Void
    ) {
        let blocks = (map.shape.channels + 15) / 16
        let parts = Parts(count: map.shape.pixels, size: tile)
        ThreadPool.shared.parallel(map.images * blocks) { task, _ in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: 16 * tile) { memory in
                for part in 0..<parts.parts {
                    body(task / blocks, task % blocks, parts.part(part), memory.baseAddress!)
                }
            }
        }
    }

    /// Features first ..< first + count, cut at the blocks' borders.
    @inline(__always)
    private static func eachRun(_ first: Int, _ count: Int, _ body: (_ feature: Int, _ done: Int, _ count: Int) -> Void)
    {
        var done = 0
        while done < count {
            let now = min(count - done, 16 - (first + done) % 16)
            body(first + done, done, now)
            done += now
        }
    }
}
