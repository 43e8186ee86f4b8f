import DimRuntime

// Between PyTorch's weights (outputs, inputs, kernel rows, kernel columns) and the order of a product's operands: four by
// four values at a time, for the channel of a column is the place in a row.

extension PatchConvolution {
    /// Panels of 32 columns. Forward: B(k, j) = W[j][k], k = (place, channel). Data gradient: panels of (32 channels,
    /// place), B(k, j) = W[k][channel j, place].
    package func pack(
        _ weights: UnsafePointer<Float>, _ direction: Direction, into packed: UnsafeMutablePointer<Float>
    ) {
        switch direction {
        case .forward: packForward(weights, packed)
        case .dataGradient: packDataGradient(weights, packed)
        }
    }

    private func packForward(_ weights: UnsafePointer<Float>, _ packed: UnsafeMutablePointer<Float>) {
        let (places, channels) = (places, input.channels)
        // Channels of a place, with the padding.
        let perPlace = depth / places
        let parts = Parts(count: channels, size: max(16, 4096 / places))
        let panels = paddedOutputs / 32
        ThreadPool.shared.parallel(panels * parts.parts) { task, _ in
            let panel = task / parts.parts
            let part = parts.part(task % parts.parts)
            let target = packed + panel * depth * 32
            let outputs = min(32, output.channels - panel * 32)
            if outputs < 32 {
                for place in 0..<places {
                    (target + (place * perPlace + part.lowerBound) * 32).update(repeating: 0, count: part.count * 32)
                }
            }
            let source = weights + panel * 32 * weightStride + (firstInput + part.lowerBound) * places
            let base = target + part.lowerBound * 32
            turn(source, stride: weightStride, rows: outputs, columns: part.count * places) { q in
                base + (q % places * perPlace + q / places) * 32
            }
            if part.upperBound == channels && perPlace > channels {
                for place in 0..<places {
                    (target + (place * perPlace + channels) * 32)
                        .update(repeating: 0, count: (perPlace - channels) * 32)
                }
            }
        }
    }

    private func packDataGradient(_ weights: UnsafePointer<Float>, _ packed: UnsafeMutablePointer<Float>) {
        let (places, outputs) = (places, output.channels)
        let panels = Activation.blocks(input.channels) / 2
        ThreadPool.shared.parallel(panels) { panel, _ in
            let channels = min(32, input.channels - panel * 32)
            let target = packed + panel * places * outputs * 32
            if channels < 32 { target.update(repeating: 0, count: places * outputs * 32) }
            for o in 0..<outputs {
                let source = weights + o * weightStride + (firstInput + panel * 32) * places
                let row = target + o * 32
                if places == 1 {
                    row.update(from: source, count: channels)
                } else {
                    turn(source, stride: places, rows: channels, columns: places) { row + $0 * outputs * 32 }
                }
            }
        }
    }
}

/// target(j)[i] = x[i * stride + j]
@inline(__always)
private func turn(
    _ x: UnsafePointer<Float>, stride: Int, rows: Int, columns: Int, target: (Int) -> UnsafeMutablePointer<Float>
) {
    var j = 0
    while j + 4 <= columns {
        let (t0, t1, t2, t3) = (target(j), target(j + 1), target(j + 2), target(j + 3))
        var i = 0
        while i + 4 <= rows {
            let at = x + (i * stride + j)
            let turned = turn4(load(at), load(at + stride), load(at + 2 * stride), load(at + 3 * stride))
            store(turned.0, t0 + i)
            store(turned.1, t1 + i)
            store(turned.2, t2 + i)
            store(turned.3, t3 + i)
            i += 4
        }
        while i < rows {
            let at = x + (i * stride + j)
            t0[i] = at[0]
            t1[i] = at[1]
            t2[i] = at[2]
            t3[i] = at[3]
            i += 1
        }
        j += 4
    }
    while j < columns {
        let t = target(j)
        for i in 0..<rows { t[i] = x[i * stride + j] }
        j += 1
    }
}

/// target[j * stride + i] += x[row(i) + j]
@inline(__always)
func addTurned(
    _ x: UnsafePointer<Float>, row: (Int) -> Int, rows: Int, columns: Int, to target: UnsafeMutablePointer<Float>,
    stride: Int
) {
    var i = 0
    while i + 4 <= rows {
        let (x0, x1, x2, x3) = (x + row(i), x + row(i + 1), x + row(i + 2), x + row(i + 3))
        var j = 0
        while j + 4 <= columns {
            let turned = turn4(load(x0 + j), load(x1 + j), load(x2 + j), load(x3 + j))
            let at = target + (j * stride + i)
            store(load(at) + turned.0, at)
            store(load(at + stride) + turned.1, at + stride)
            store(load(at + 2 * stride) + turned.2, at + 2 * stride)
            store(load(at + 3 * stride) + turned.3, at + 3 * stride)
            j += 4
        }
        while j < columns {
            let at = target + (j * stride + i)
            at[0] += x0[j]
            at[1] += x1[j]
            at[2] += x2[j]
            at[3] += x3[j]
            j += 1
        }
        i += 4
    }
    while i < rows {
        let source = x + row(i)
        for j in 0..<columns { target[j * stride + i] += source[j] }
        i += 1
    }
}

@inline(__always)
private func turn4(_ a: SIMD4<Float>, _ b: SIMD4<Float>, _ c: SIMD4<Float>, _ d: SIMD4<Float>)
    -> (SIMD4<Float>, SIMD4<Float>, SIMD4<Float>, SIMD4<Float>)
{
    let ac = SIMD8(lowHalf: a, highHalf: c), bd = SIMD8(lowHalf: b, highHalf: d)
    let even = SIMD8(lowHalf: ac.evenHalf, highHalf: bd.evenHalf)  // a0 a2 c0 c2 b0 b2 d0 d2
    let odd = SIMD8(lowHalf: ac.oddHalf, highHalf: bd.oddHalf)  // a1 a3 c1 c3 b1 b3 d1 d3
    let e0 = even.evenHalf, e1 = even.oddHalf  // a0 c0 b0 d0, a2 c2 b2 d2
    let o0 = odd.evenHalf, o1 = odd.oddHalf
    return (
        SIMD4(e0[0], e0[2], e0[1], e0[3]), SIMD4(o0[0], o0[2], o0[1], o0[3]), SIMD4(e1[0], e1[2], e1[1], e1[3]),
        SIMD4(o1[0], o1[2], o1[1], o1[3])
    )
}

@inline(__always)
private func load(_ p: UnsafePointer<Float>) -> SIMD4<Float> {
    UnsafeRawPointer(p).loadUnaligned(as: SIMD4<Float>.self)
}

@inline(__always)
private func store(_ v: SIMD4<Float>, _ p: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(p).storeBytes(of: v, as: SIMD4<Float>.self)
}
