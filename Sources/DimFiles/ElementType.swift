import CHDF5

/// The supported types of elements, each recognised by `H5Tequal`: a file describes its types bit by bit, and
/// other descriptions are refused.
enum ElementType: CaseIterable {
    case float16, float16Big, float32, float32Big, float64, float64Big
    case int32, int32Big, int64, int64Big
    case uint32

    var size: Int {
        switch self {
        case .float16, .float16Big: 2
        case .float32, .float32Big, .int32, .int32Big, .uint32: 4
        case .float64, .float64Big, .int64, .int64Big: 8
        }
    }

    var isFloat: Bool {
        switch self {
        case .float16, .float16Big, .float32, .float32Big, .float64, .float64Big: true
        case .int32, .int32Big, .int64, .int64Big, .uint32: false
        }
    }

    /// The type of a dataset; nil for all others.
    static func recognise(_ type: hid_t) -> ElementType? {
        allCases.first { isEqual(type, $0.make()) }
    }

    private static func isEqual(_ type: hid_t, _ other: HDF5Object?) -> Bool {
        guard let other else { return false }
        return H5Tequal(type, other.id) > 0
    }

    /// A copy of libhdf5's description, to be closed by its owner.
    func make() -> HDF5Object? {
        switch self {
        case .float16: ElementType.half(exponentBits: 5, big: false)
        case .float16Big: ElementType.half(exponentBits: 5, big: true)
        case .float32: HDF5Object(H5Tcopy(dim_h5_float32(0)))
        case .float32Big: HDF5Object(H5Tcopy(dim_h5_float32(1)))
        case .float64: HDF5Object(H5Tcopy(dim_h5_float64(0)))
        case .float64Big: HDF5Object(H5Tcopy(dim_h5_float64(1)))
        case .int32: HDF5Object(H5Tcopy(dim_h5_int32(0)))
        case .int32Big: HDF5Object(H5Tcopy(dim_h5_int32(1)))
        case .int64: HDF5Object(H5Tcopy(dim_h5_int64(0)))
        case .int64Big: HDF5Object(H5Tcopy(dim_h5_int64(1)))
        case .uint32: HDF5Object(H5Tcopy(dim_h5_uint32()))
        }
    }

    /// libhdf5 1.10 has no name for 16-bit floats: with 5 bits of exponent IEEE's half, with 8 bfloat16.
    private static func half(exponentBits: Int, big: Bool) -> HDF5Object? {
        guard let type = HDF5Object(H5Tcopy(dim_h5_float32(big ? 1 : 0))) else { return nil }
        let mantissaBits = 15 - exponentBits
        guard H5Tset_fields(type.id, 15, mantissaBits, exponentBits, 0, mantissaBits) >= 0,
            H5Tset_size(type.id, 2) >= 0,
            H5Tset_ebias(type.id, 1 << (exponentBits - 1) - 1) >= 0
        else { return nil }
        return type
    }

    /// For messages: "int16", "float64", "a string".
    static func describe(_ type: hid_t) -> String {
        let size = H5Tget_size(type)
        let big = size > 1 && H5Tget_order(type) == H5T_ORDER_BE ? " (big-endian)" : ""
        switch H5Tget_class(type) {
        case H5T_FLOAT:
            let isBrain = [false, true].contains { isEqual(type, half(exponentBits: 8, big: $0)) }
            return isBrain ? "bfloat16" : "float\(size &* 8)\(big)"
        case H5T_INTEGER:
            return (H5Tget_sign(type) == H5T_SGN_NONE ? "uint" : "int") + "\(size &* 8)\(big)"
        case H5T_STRING: return H5Tis_variable_str(type) > 0 ? "string of variable length" : "string"
        case H5T_OPAQUE: return "opaque bytes"
        case H5T_COMPOUND: return "compound"
        case H5T_ENUM: return "enum"
        case H5T_VLEN: return "variable length"
        case H5T_REFERENCE: return "reference"
        case H5T_ARRAY: return "array"
        case H5T_BITFIELD: return "bitfield"
        default: return "unknown type"
        }
    }
}
