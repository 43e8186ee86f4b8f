/// The slow reference: each operation as its formula reads, accumulated in double. Every kernel is tested against
/// these; they are never optimised.
package enum Reference {
    /// The nearest bfloat16, of two equally near ones the even one: its bits are the upper half of a float's. NaN stays NaN.
    package static func bfloat16(_ x: Float) -> Float {
        guard !x.isNaN else { return .nan }
        let (upper, lower) = (x.bitPattern & 0xffff_0000, x.bitPattern & 0xffff)
        let up = lower > 0x8000 || lower == 0x8000 && upper & 0x1_0000 != 0
        return Float(bitPattern: up ? upper + 0x1_0000 : upper)
    }

    /// C(r, j) = sum over k of A(r, k) B(k, j), plus C where `accumulate`, then the epilogue, over any operands.
    package static func gemm(
        rows: Int, columns: Int, depth: Int, accumulate c: ((Int, Int) -> Float)? = nil,
        scale: ((Int) -> Float)? = nil, bias: ((Int) -> Float)? = nil, relu: Bool = false,
        a: (Int, Int) -> Float, b: (Int, Int) -> Float
    ) -> [Double] {
        var result: [Double] = []
        for r in 0..<rows {
            for j in 0..<columns {
                var sum = 0.0
                for k in 0..<depth { sum += Double(a(r, k)) * Double(b(k, j)) }
                if let c { sum += Double(c(r, j)) }
                if let scale { sum *= Double(scale(j)) }
                if let bias { sum += Double(bias(j)) }
                result.append(relu ? max(sum, 0) : sum)
            }
        }
        return result
    }

    /// y(n, o, i, j) = sum over c, u, v of x(n, c, i + u, j + v) w(o, c, u, v): planar arrays, stride 1, no padding.
    package static func convolution(
        _ x: [Float], _ w: [Float], n: Int, inputChannels: Int, outputChannels: Int, kernel: Int, height: Int,
        width: Int
    ) -> [Double] {
        let (oh, ow) = (height - kernel + 1, width - kernel + 1)
        var y = [Double](repeating: 0, count: n * outputChannels * oh * ow)
        for image in 0..<n {
            for o in 0..<outputChannels {
                for i in 0..<oh {
                    for j in 0..<ow {
                        var sum = 0.0
                        for c in 0..<inputChannels {
                            for u in 0..<kernel {
                                for v in 0..<kernel {
                                    let at = ((image * inputChannels + c) * height + i + u) * width + j + v
                                    let weight = ((o * inputChannels + c) * kernel + u) * kernel + v
                                    sum += Double(x[at]) * Double(w[weight])
                                }
                            }
                        }
                        y[((image * outputChannels + o) * oh + i) * ow + j] = sum
                    }
                }
            }
        }
        return y
    }

    /// The gradients of sum(dy * convolution(x, w)): dx(n, c, i+u, j+v) += dy(n, o, i, j) w(o, c, u, v) and
    /// dw(o, c, u, v) += dy(n, o, i, j) x(n, c, i+u, j+v).
    package static func convolutionGradients(
        _ x: [Float], _ w: [Float], _ dy: [Float],
        n: Int, inputChannels: Int, outputChannels: Int, kernel: Int, height: Int, width: Int
    ) -> (dx: [Double], dw: [Double], db: [Double]) {
        let (oh, ow) = (height - kernel + 1, width - kernel + 1)
        var dx = [Double](repeating: 0, count: x.count)
        var dw = [Double](repeating: 0, count: w.count)
        var db = [Double](repeating: 0, count: outputChannels)
        for image in 0..<n {
            for o in 0..<outputChannels {
                for i in 0..<oh {
                    for j in 0..<ow {
                        let g = Double(dy[((image * outputChannels + o) * oh + i) * ow + j])
                        db[o] += g
                        for c in 0..<inputChannels {
                            for u in 0..<kernel {
                                for v in 0..<kernel {
                                    let at = ((image * inputChannels + c) * height + i + u) * width + j + v
                                    let weight = ((o * inputChannels + c) * kernel + u) * kernel + v
                                    dx[at] += g * Double(w[weight])
                                    dw[weight] += g * Double(x[at])
                                }
                            }
                        }
                    }
                }
            }
        }
        return (dx, dw, db)
    }
}
