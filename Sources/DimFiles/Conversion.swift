import DimRuntime
import Glibc

/// Converts a file's elements to the library's: float32 and int64 in the machine's byte order. The result also says
/// whether all values are finite, without a second pass.
package enum Conversion {
    /// Converts `count` floats of `type`; false where one is NaN or infinite, or too large for float32.
    static func floats(
        _ type: ElementType, _ source: UnsafeRawPointer, into target: UnsafeMutablePointer<Float>, count: Int
    ) -> Bool {
        switch type {
        case .float32:
            memcpy(target, source, 4 * count)
        case .float32Big:
            for i in 0..<count {
                let bits = source.loadUnaligned(fromByteOffset: 4 * i, as: UInt32.self)
                target[i] = Float(bitPattern: UInt32(bigEndian: bits))
            }
        case .float64:
            for i in 0..<count {
                let bits = source.loadUnaligned(fromByteOffset: 8 * i, as: UInt64.self)
                target[i] = Float(Double(bitPattern: UInt64(littleEndian: bits)))
            }
        case .float64Big:
            for i in 0..<count {
                let bits = source.loadUnaligned(fromByteOffset: 8 * i, as: UInt64.self)
                target[i] = Float(Double(bitPattern: UInt64(bigEndian: bits)))
            }
        case .float16:
            for i in 0..<count {
                target[i] = half(UInt16(littleEndian: source.loadUnaligned(fromByteOffset: 2 * i, as: UInt16.self)))
            }
        case .float16Big:
            for i in 0..<count {
                target[i] = half(UInt16(bigEndian: source.loadUnaligned(fromByteOffset: 2 * i, as: UInt16.self)))
            }
        case .int32, .int32Big, .int64, .int64Big, .uint32:
            return false
        }
        return areFinite(target, count: count)
    }

    static func integer(_ type: ElementType, _ source: UnsafeRawPointer) -> Int64? {
        switch type {
        case .int32: Int64(Int32(littleEndian: source.loadUnaligned(as: Int32.self)))
        case .int32Big: Int64(Int32(bigEndian: source.loadUnaligned(as: Int32.self)))
        case .int64: Int64(littleEndian: source.loadUnaligned(as: Int64.self))
        case .int64Big: Int64(bigEndian: source.loadUnaligned(as: Int64.self))
        default: nil
        }
    }

    /// IEEE half to float, exact. The exponent's bias differs by 112; multiplying by 2^112 moves it and sets subnormals
    /// right.
    private static func half(_ bits: UInt16) -> Float {
        let sign = UInt32(bits & 0x8000) << 16
        let rest = UInt32(bits & 0x7fff)
        if rest >= 0x7c00 {
            return Float(bitPattern: sign | 0x7f80_0000 | (rest & 0x3ff) << 13)
        }
        let magnitude = Float(bitPattern: rest << 13) * Float(bitPattern: (127 + 112) << 23)
        return Float(bitPattern: sign | magnitude.bitPattern)
    }

    package static func areFinite(_ values: UnsafePointer<Float>, count: Int) -> Bool {
        ParameterRules.areFinite(values, count: count)
    }
}
