// Loops over plain arrays of floats, of any length and alignment.

/// gradient = 0 where the ReLU's output was not positive.
package func reluGradient(_ output: UnsafePointer<Float>, _ gradient: UnsafeMutablePointer<Float>, _ count: Int) {
    let whole = count / lanes &* lanes
    var i = 0
    while i < whole {
        store(load(gradient + i).replacing(with: Vector.zero, where: load(output + i) .<= Vector.zero), gradient + i)
        i &+= lanes
    }
    while i < count {
        if output[i] <= 0 { gradient[i] = 0 }
        i &+= 1
    }
}

/// out = max(x + y, 0)
package func addRelu(
    _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, _ count: Int
) {
    let whole = count / lanes &* lanes
    var i = 0
    while i < whole {
        store(maximum(load(x + i) + load(y + i), Vector.zero), out + i)
        i &+= lanes
    }
    while i < count {
        let v = x[i] + y[i]
        out[i] = v < 0 ? 0 : v
        i &+= 1
    }
}

/// y += x
package func add(_ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, _ count: Int) {
    let whole = count / lanes &* lanes
    var i = 0
    while i < whole {
        store(load(x + i) + load(y + i), y + i)
        i &+= lanes
    }
    while i < count {
        y[i] += x[i]
        i &+= 1
    }
}

/// x = x > 0 ? factor * y : 0. The gradient of a ReLU whose output x is weighted by y: x is not needed again.
package func reluOuterGradient(
    _ x: UnsafeMutablePointer<Float>, _ factor: Float, _ y: UnsafePointer<Float>, _ count: Int
) {
    let f = Vector(repeating: factor)
    let whole = count / lanes &* lanes
    var i = 0
    while i < whole {
        store((f * load(y + i)).replacing(with: Vector.zero, where: load(x + i) .<= Vector.zero), x + i)
        i &+= lanes
    }
    while i < count {
        x[i] = x[i] <= 0 ? 0 : factor * y[i]
        i &+= 1
    }
}

/// sums[j] += sum over rows of x[r * stride + j]
package func addColumnSums(
    _ x: UnsafePointer<Float>, _ rows: Int, _ stride: Int, _ columns: Int, _ sums: UnsafeMutablePointer<Float>
) {
    let whole = columns / lanes &* lanes
    var j = 0
    while j < whole {
        var s = Vector.zero
        var r = 0
        while r < rows {
            s += load(x + (r &* stride &+ j))
            r &+= 1
        }
        store(load(sums + j) + s, sums + j)
        j &+= lanes
    }
    while j < columns {
        var s: Float = 0
        var r = 0
        while r < rows {
            s += x[r &* stride &+ j]
            r &+= 1
        }
        sums[j] += s
        j &+= 1
    }
}

/// Whether no value is NaN or infinite.
package func allFinite(_ x: UnsafePointer<Float>, _ count: Int) -> Bool {
    let whole = count / lanes &* lanes
    var s = Vector.zero
    var i = 0
    while i < whole {
        let v = load(x + i)
        s += v - v  // 0, or NaN
        i &+= lanes
    }
    var rest: Float = 0
    while i < count {
        rest += x[i] - x[i]
        i &+= 1
    }
    return sum(s) + rest == 0
}

/// Whether the square of every value is finite.
package func squaresFinite(_ x: UnsafePointer<Float>, _ count: Int) -> Bool {
    let whole = count / lanes &* lanes
    var s = Vector.zero
    var i = 0
    while i < whole {
        let v = load(x + i)
        s += v * v * Vector.zero  // 0, or NaN
        i &+= lanes
    }
    var rest: Float = 0
    while i < count {
        rest += x[i] * x[i] * 0
        i &+= 1
    }
    return sum(s) + rest == 0
}
