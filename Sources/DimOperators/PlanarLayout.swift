import DimArchitecture
import DimRuntime

/// Between PyTorch's planes, (n, c, h, w), and activations.
package enum PlanarLayout {
    /// x = (planes - mean) / std, one of each a channel; both empty: as they are.
    package static func load(_ planes: UnsafePointer<Float>, mean: [Float], std: [Float], into x: Activation) {
        let (channels, pixels) = (x.shape.channels, x.shape.pixels)
        ThreadPool.shared.parallel(x.images * x.blocks) { task, _ in
            let (image, block) = (task / x.blocks, task % x.blocks)
            let target = x.block(block) + image * pixels * 16
            let count = min(16, channels - block * 16)
            if count < 16 { target.update(repeating: 0, count: pixels * 16) }
            guard count > 0 else { return }
            let source = planes + (image * channels + block * 16) * pixels
            BlockedLayout.transpose(source, rows: count, columns: pixels, stride: pixels, into: target, stride: 16)
            guard !mean.isEmpty else { return }
            var m = SIMD16<Float>(repeating: 0), s = SIMD16<Float>(repeating: 1)
            for c in 0..<count { (m[c], s[c]) = (mean[block * 16 + c], std[block * 16 + c]) }
            for p in 0..<pixels {
                let at = UnsafeMutableRawPointer(target + p * 16)
                at.storeBytes(of: (at.loadUnaligned(as: SIMD16<Float>.self) - m) / s, as: SIMD16<Float>.self)
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
        // Past the last feature.
        for block in features / 16..<y.blocks {
            let from = max(0, features - block * 16)
            for image in 0..<y.images {
                (y.block(block) + image * 16 + from).update(repeating: 0, count: 16 - from)
            }
        }
    }

    package static func backward(_ dy: Activation, into dx: Activation) {
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
        if dx.shape.channels <= dx.blocks * 16 - 16 {
            dx.block(dx.blocks - 1).update(repeating: 0, count: dx.rows * 16)
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
