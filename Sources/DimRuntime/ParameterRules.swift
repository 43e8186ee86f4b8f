import DimArchitecture

/// What a model may hold: one set of rules for setting a parameter, a gradient callback, a training step, saving and opening,
/// so that whatever one of them lets pass the others take.
package enum ParameterRules {
    /// What is wrong with a parameter's values, for a person; nil where a model may hold them.
    package static func fault(_ spec: ParameterSpec, _ values: UnsafePointer<Float>) -> String? {
        if !areFinite(values, count: spec.count) {
            let at = (0..<spec.count).first { !values[$0].isFinite } ?? 0
            return "\(spec.name): \(values[at]) at \(at); weights must be finite"
        }
        if spec.role == .runningVar, let at = (0..<spec.count).first(where: { values[$0] < 0 }) {
            return "\(spec.name): \(values[at]) at \(at); a variance cannot be negative"
        }
        return nil
    }

    package static func fault(_ spec: ParameterSpec, _ count: Int64) -> String? {
        count < 0 ? "\(spec.name): \(count); a count cannot be negative" : nil
    }

    package static func fault(_ spec: ParameterSpec, _ value: ParameterValue) -> String? {
        switch value {
        case .floats(let buffer): fault(spec, buffer.pointer)
        case .counter(let count): fault(spec, count)
        }
    }

    /// Adding one to the exponent carries into the sign exactly where the exponent is all ones.
    package static func areFinite(_ values: UnsafePointer<Float>, count: Int) -> Bool {
        let bits = UnsafeRawPointer(values)
        var seen = SIMD16<UInt32>()
        var at = 0
        while count - at >= 16 {
            let lanes = bits.loadUnaligned(fromByteOffset: 4 * at, as: SIMD16<UInt32>.self)
            seen |= (lanes & 0x7fff_ffff) &+ 0x0080_0000
            at += 16
        }
        var all: UInt32 = 0
        for lane in 0..<16 { all |= seen[lane] }
        while at < count {
            all |= (values[at].bitPattern & 0x7fff_ffff) &+ 0x0080_0000
            at += 1
        }
        return all < 0x8000_0000
    }

    /// The largest |x|; infinite or NaN where one is.
    package static func largest(_ values: UnsafePointer<Float>, count: Int) -> Float {
        let bits = UnsafeRawPointer(values)
        var most = SIMD16<Int32>()
        var at = 0
        while count - at >= 16 {
            let lanes = bits.loadUnaligned(fromByteOffset: 4 * at, as: SIMD16<Int32>.self) & 0x7fff_ffff
            most = pointwiseMax(most, lanes)
            at += 16
        }
        var all = most.max()
        while at < count {
            all = max(all, Int32(bitPattern: values[at].bitPattern & 0x7fff_ffff))
            at += 1
        }
        return Float(bitPattern: UInt32(bitPattern: all))
    }
}
