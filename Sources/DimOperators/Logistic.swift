import Glibc

/// The logistic functions of logits, in double: finite for every finite logit.
package enum Logistic {
    /// log(1 + e^x) = -log sigmoid(-x)
    package static func softplus(_ x: Double) -> Double {
        max(x, 0) + log1p(exp(-abs(x)))
    }

    /// 1 / (1 + e^-x), the derivative of softplus.
    package static func sigmoid(_ x: Double) -> Double {
        if x >= 0 { return 1 / (1 + exp(-x)) }
        let e = exp(x)
        return e / (1 + e)
    }

    /// In place: softmax of one row.
    package static func softmax(_ x: UnsafeMutablePointer<Float>, _ count: Int) {
        var top = -Double.infinity
        for i in 0..<count { top = max(top, Double(x[i])) }
        var total = 0.0
        for i in 0..<count { total += exp(Double(x[i]) - top) }
        for i in 0..<count { x[i] = Float(exp(Double(x[i]) - top) / total) }
    }
}
