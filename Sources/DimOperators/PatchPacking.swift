import DimRuntime

// Between PyTorch's weights (outputs, inputs, kernel rows, kernel columns) and the order of a product's operands: four by
// four values at a time, for the channel of a column is the place in a row.

extension PatchConvolution {
    /// Panels of 32 columns. Forward: B(k, j) = W[j][k], k = (place, channel). Data gradient: panels of (32 channels,
    /// place), B(k, j) = W[k][channel j, place].
    package func pack(
        _ weights: UnsafePointer<Float>, _ direction: Direction, precision: Precision = .float32,
        into packed: UnsafeMutablePointer<Float>
    ) {
        if let phases = phases(direction) { return phases.pack(weights, direction, into: packed) }
        switch direction {
        case .forward, .training: packForward(weights, packed)
        case .dataGradient: packDataGradient(weights, packed)
        }
        if isMixed(precision) {
            if direction == .dataGradient {
                MixedProducts.round(
                    packed, depth: output.channels, columns: Activation.blocks(input.channels) * 16)
            } else {
                MixedProducts.round(packed, depth: depth, columns: paddedOutputs)
            }
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
        if places == 1 { return packRows(weights, packed) }
        let (places, outputs) = (places, output.channels)
        let panels = Activation.blocks(input.channels) / 2
        ThreadPool.shared.parallel(panels) { panel, _ in
            let channels = min(32, input.channels - panel * 32)
            let target = packed + panel * places * outputs * 32
            if channels < 32 { target.update(repeating: 0, count: places * outputs * 32) }
            for o in 0..<outputs {
                let source = weights + o * weightStride + (firstInput + panel * 32) * places
                let row = target + o * 32
                turn(source, stride: places, rows: channels, columns: places) { row + $0 * outputs * 32 }
            }
        }
    }

    /// The data gradient's panels of kernels of one place: rows of weights, cut. A task covers several panels, so that it reads
    /// more than two lines of the cache from a row.
    private func packRows(_ weights: UnsafePointer<Float>, _ packed: UnsafeMutablePointer<Float>) {
        let outputs = output.channels
        let panels = Parts(count: Activation.blocks(input.channels) / 2, size: 8)
        let rows = Parts(count: outputs, size: 128)
        ThreadPool.shared.parallel(panels.parts * rows.parts) { task, _ in
            let part = panels.part(task / rows.parts)
            for o in rows.part(task % rows.parts) {
                let source = weights + o * weightStride + firstInput
                for panel in part {
                    let target = packed + (panel * outputs + o) * 32
                    let channels = min(32, input.channels - panel * 32)
                    if channels == 32 {
                        for i in Swift.stride(from: 0, to: 32, by: 4) {
                            store4(load4(source + panel * 32 + i), target + i)
                        }
                    } else {
                        target.update(from: source + panel * 32, count: channels)
                        (target + channels).update(repeating: 0, count: 32 - channels)
                    }
                }
            }
        }
    }
}

/// target(j)[i] = x[i * stride + j]. Sixteen columns at a time: rows may lie a multiple of 4 KB apart, where a line of the
/// cache does not stay for long.
@inline(__always)
private func turn(
    _ x: UnsafePointer<Float>, stride: Int, rows: Int, columns: Int, target: (Int) -> UnsafeMutablePointer<Float>
) {
    var first = 0
    while first < columns {
        let end = min(first + 16, columns)
        var i = 0
        while i < rows {
            var j = first
            if i + 4 <= rows {
                while j + 4 <= end {
                    let at = x + (i * stride + j)
                    let turned = turn4(load4(at), load4(at + stride), load4(at + 2 * stride), load4(at + 3 * stride))
                    store4(turned.0, target(j) + i)
                    store4(turned.1, target(j + 1) + i)
                    store4(turned.2, target(j + 2) + i)
                    store4(turned.3, target(j + 3) + i)
                    j += 4
                }
            }
            while j < end {
                let out = target(j)
                for r in i..<min(i + 4, rows) { out[r] = x[r * stride + j] }
                j += 1
            }
            i += 4
        }
        first = end
    }
}

/// target[j * stride + i] += x[row(i) + j], sixteen rows at a time likewise.
@inline(__always)
func addTurned(
    _ x: UnsafePointer<Float>, row: (Int) -> Int, rows: Int, columns: Int, to target: UnsafeMutablePointer<Float>,
    stride: Int
) {
    withUnsafeTemporaryAllocation(of: UnsafePointer<Float>.self, capacity: 16) { sources in
        var first = 0
        while first < rows {
            let count = min(16, rows - first)
            for i in 0..<count { sources[i] = x + row(first + i) }
            var j = 0
            while j < columns {
                let at = target + (j * stride + first)
                var i = 0
                if j + 4 <= columns {
                    while i + 4 <= count {
                        let turned = turn4(
                            load4(sources[i] + j), load4(sources[i + 1] + j), load4(sources[i + 2] + j),
                            load4(sources[i + 3] + j))
                        let out = at + i
                        store4(load4(out) + turned.0, out)
                        store4(load4(out + stride) + turned.1, out + stride)
                        store4(load4(out + 2 * stride) + turned.2, out + 2 * stride)
                        store4(load4(out + 3 * stride) + turned.3, out + 3 * stride)
                        i += 4
                    }
                }
                while i < count {
                    for q in 0..<min(4, columns - j) { at[q * stride + i] += sources[i][j + q] }
                    i += 1
                }
                j += 4
            }
            first += 16
        }
    }
}
