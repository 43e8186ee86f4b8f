import DimKernelTypes

/// See `MatrixSum`.
package func addMatrices(_ c: MatrixSum) {
    let sign: Float = c.subtract ? -1 : 1
    let whole = c.columns / lanes &* lanes
    var r = 0
    while r < c.rows {
        let x = c.x + r &* c.xRow
        let y = c.y + r &* c.yRow
        let out = c.out + r &* c.outRow
        if c.accumulate || c.bias != nil || c.relu {
            addRow(c, x, y, out, whole)
        } else if c.subtract {
            var j = 0
            while j < whole {
                store(load(x + j) - load(y + j), out + j)
                j &+= lanes
            }
        } else {
            var j = 0
            while j < whole {
                store(load(x + j) + load(y + j), out + j)
                j &+= lanes
            }
        }
        var j = whole
        while j < c.columns {
            var v = x[j] + sign * y[j]
            if c.accumulate { v += out[j] }
            if let bias = c.bias { v += bias[j] }
            out[j] = c.relu && v < 0 ? 0 : v
            j &+= 1
        }
        r &+= 1
    }
}

/// A row's whole vectors, with whatever is asked for.
@inline(__always)
private func addRow(
    _ c: MatrixSum, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>,
    _ whole: Int
) {
    var j = 0
    while j < whole {
        var v = c.subtract ? load(x + j) - load(y + j) : load(x + j) + load(y + j)
        if c.accumulate { v += load(out + j) }
        if let bias = c.bias { v += load(bias + j) }
        if c.relu { v = relu(v) }
        store(v, out + j)
        j &+= lanes
    }
}
