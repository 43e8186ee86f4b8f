import DimArchitecture
import Glibc

/// The slow reference: each operator as its formula reads, over planar arrays (n, c, h, w), in double. Never optimised.
enum ReferenceOperators {
    /// One convolution: kernel, stride and padding as (rows, columns).
    struct Window {
        var kernel = (1, 1)
        var stride = (1, 1)
        var padding = (0, 0)

        func output(_ input: MapShape, channels: Int) -> MapShape {
            MapShape(
                channels: channels, height: (input.height + 2 * padding.0 - kernel.0) / stride.0 + 1,
                width: (input.width + 2 * padding.1 - kernel.1) / stride.1 + 1)
        }

        /// Calls `body` with each pair of an output pixel and an input pixel inside of the map, and the kernel's place.
        func forEach(_ input: MapShape, _ body: (_ output: Int, _ input: Int, _ place: Int) -> Void) {
            let shape = output(input, channels: 1)
            for i in 0..<shape.height {
                for j in 0..<shape.width {
                    for u in 0..<kernel.0 {
                        for v in 0..<kernel.1 {
                            let (row, column) = (i * stride.0 + u - padding.0, j * stride.1 + v - padding.1)
                            guard (0..<input.height).contains(row), (0..<input.width).contains(column) else { continue }
                            body(i * shape.width + j, row * input.width + column, u * kernel.1 + v)
                        }
                    }
                }
            }
        }
    }

    /// y(n, o, i, j) = b(o) + sum over c, u, v of x(n, c, i s + u - p, j s + v - p) w(o, first + c, u, v)
    static func convolution(
        _ x: [Double], _ w: [Double], _ b: [Double], n: Int, _ input: MapShape, outputs: Int, weightInputs: Int,
        first: Int, _ window: Window
    ) -> [Double] {
        let shape = window.output(input, channels: outputs)
        let places = window.kernel.0 * window.kernel.1
        var y = [Double](repeating: 0, count: n * shape.size)
        for image in 0..<n {
            for o in 0..<outputs {
                let out = (image * outputs + o) * shape.pixels
                for p in 0..<shape.pixels { y[out + p] = b[o] }
                for c in 0..<input.channels {
                    let (from, weight) = (
                        (image * input.channels + c) * input.pixels, (o * weightInputs + first + c) * places
                    )
                    window.forEach(input) { y[out + $0] += x[from + $1] * w[weight + $2] }
                }
            }
        }
        return y
    }

    /// The gradients of sum(dy * convolution(x, w, b)).
    static func convolutionGradients(
        _ x: [Double], _ w: [Double], _ dy: [Double], n: Int, _ input: MapShape, outputs: Int, weightInputs: Int,
        first: Int, _ window: Window
    ) -> (dx: [Double], dw: [Double], db: [Double]) {
        let shape = window.output(input, channels: outputs)
        let places = window.kernel.0 * window.kernel.1
        var dx = [Double](repeating: 0, count: x.count), dw = [Double](repeating: 0, count: w.count)
        var db = [Double](repeating: 0, count: outputs)
        for image in 0..<n {
            for o in 0..<outputs {
                let out = (image * outputs + o) * shape.pixels
                for p in 0..<shape.pixels { db[o] += dy[out + p] }
                for c in 0..<input.channels {
                    let (from, weight) = (
                        (image * input.channels + c) * input.pixels, (o * weightInputs + first + c) * places
                    )
                    window.forEach(input) {
                        dx[from + $1] += dy[out + $0] * w[weight + $2]
                        dw[weight + $2] += dy[out + $0] * x[from + $1]
                    }
                }
            }
        }
        return (dx, dw, db)
    }

    static func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

    /// The largest value of each window, or the mean with zeros for what is outside.
    static func pool(_ x: [Double], maps: Int, _ input: MapShape, _ window: Window, isMax: Bool) -> [Double] {
        let pixels = window.output(input, channels: 1).pixels
        var y = [Double](repeating: isMax ? -.infinity : 0, count: maps * pixels)
        for map in 0..<maps {
            window.forEach(input) { output, pixel, _ in
                let v = x[map * input.pixels + pixel]
                if isMax {
                    y[map * pixels + output] = max(y[map * pixels + output], v)
                } else {
                    y[map * pixels + output] += v / Double(window.kernel.0 * window.kernel.1)
                }
            }
        }
        return y
    }

    /// (x - mean) / sqrt(var + eps) * weight + bias, mean and variance over images and pixels of each channel.
    static func batchNorm(_ x: [Double], _ weight: [Double], _ bias: [Double], n: Int, _ shape: MapShape) -> [Double] {
        normalise(x, n, shape, weight, bias) { _, c, _ in c }
    }

    /// The same over the channels of each image and pixel.
    static func layerNorm(_ x: [Double], _ weight: [Double], _ bias: [Double], n: Int, _ shape: MapShape) -> [Double] {
        normalise(x, n, shape, weight, bias) { image, _, p in image * shape.pixels + p }
    }

    /// Normalises each group of values; `group` of (image, channel, pixel).
    private static func normalise(
        _ x: [Double], _ n: Int, _ shape: MapShape, _ weight: [Double], _ bias: [Double],
        _ group: (Int, Int, Int) -> Int
    ) -> [Double] {
        var members: [Int: [Int]] = [:]
        for i in x.indices {
            members[group(i / shape.size, i / shape.pixels % shape.channels, i % shape.pixels), default: []].append(i)
        }
        var y = x
        for indices in members.values {
            let count = Double(indices.count)
            let mean = indices.reduce(0) { $0 + x[$1] } / count
            let variance = indices.reduce(0) { $0 + (x[$1] - mean) * (x[$1] - mean) } / count
            for i in indices {
                let c = i / shape.pixels % shape.channels
                y[i] = (x[i] - mean) / (variance + 1e-5).squareRoot() * weight[c] + bias[c]
            }
        }
        return y
    }
}
