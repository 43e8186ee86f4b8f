import CHDF5
import DimRuntime

/// A dataset whose description has passed all checks: of a supported type and shape, stored completely in this file,
/// with filters that this library decodes. Its data has not been read.
struct StoredArray {
    enum Layout {
        /// In its header.
        case compact
        case contiguous
        case chunked(Chunks)
    }

    struct Chunks {
        /// Elements of one chunk along each axis, as many as the shape's axes.
        let shape: [Int]
        /// In the order in which a writer applies them, each at most once.
        let filters: [Filter]
    }

    enum Filter: UInt32 {
        case deflate = 1
        case shuffle = 2
        case fletcher32 = 3
    }

    /// A legitimate file has chunks of kilobytes; a malicious one could have a chunk per element.
    static let mostChunks = 1 << 18

    let name: String
    let object: HDF5Object
    let type: ElementType
    let shape: [Int]
    let layout: Layout

    var count: Int { shape.reduce(1, *) }
    var bytes: Int { count * type.size }
}

/// A dataset before it is matched to a parameter: type and shape, for matching and for messages.
struct Description {
    let entry: Catalog.Entry
    /// nil for an odd type.
    let type: ElementType?
    let typeText: String
    /// nil for a null space or one that libhdf5 cannot tell.
    let shape: [Int]?

    var name: String { printable(entry.name) }
    var shapeText: String { shape.map(DimFiles.describe(shape:)) ?? "without a shape" }

    init(_ entry: Catalog.Entry) {
        self.entry = entry
        if let type = HDF5Object(H5Dget_type(entry.object.id)) {
            self.type = ElementType.recognise(type.id)
            typeText = ElementType.describe(type.id)
        } else {
            type = nil
            typeText = "unknown type"
        }
        shape = HDF5Object(H5Dget_space(entry.object.id)).flatMap(Description.shape(of:))
    }

    private static func shape(of space: HDF5Object) -> [Int]? {
        switch H5Sget_simple_extent_type(space.id) {
        case H5S_SCALAR: return []
        case H5S_SIMPLE:
            let rank = Int(H5Sget_simple_extent_ndims(space.id))
            guard (0...32).contains(rank) else { return nil }
            var sizes = [hsize_t](repeating: 0, count: 32)
            guard H5Sget_simple_extent_dims(space.id, &sizes, nil) == rank else { return nil }
            // A size beyond Int fits no schema.
            return sizes.prefix(rank).map { Int(exactly: $0) ?? Int.max }
        default: return nil
        }
    }

    /// The second check, once type and shape are as expected: how the array is stored. nil where a problem was noted.
    func stored(problems: inout Problems) -> StoredArray? {
        guard let type, let shape else { return nil }
        guard let creation = HDF5Object(H5Dget_create_plist(entry.object.id)) else {
            problems.format("\(name): its description is damaged (\(HDF5.lastReason))")
            return nil
        }
        let layout: StoredArray.Layout
        switch H5Pget_layout(creation.id) {
        case H5D_COMPACT: layout = .compact
        case H5D_CONTIGUOUS: layout = .contiguous
        case H5D_CHUNKED:
            guard let chunks = chunks(creation, type: type, shape: shape, problems: &problems) else { return nil }
            layout = .chunked(chunks)
        case H5D_VIRTUAL:
            problems.format("\(name): a virtual dataset, made of others; store the values themselves")
            return nil
        default:
            problems.format("\(name): an unknown storage layout")
            return nil
        }
        guard H5Pget_external_count(creation.id) == 0 else {
            problems.format("\(name): its data is in other files; store the values in this one")
            return nil
        }
        let array = StoredArray(name: name, object: entry.object, type: type, shape: shape, layout: layout)
        if case .chunked = layout { return array }
        guard H5Dget_storage_size(entry.object.id) == array.bytes else {
            problems.format("\(name): its data is missing or cut short")
            return nil
        }
        return array
    }

    private func chunks(
        _ creation: HDF5Object, type: ElementType, shape: [Int], problems: inout Problems
    ) -> StoredArray.Chunks? {
        var sizes = [hsize_t](repeating: 0, count: 33)
        let rank = H5Pget_chunk(creation.id, 32, &sizes)
        let chunk = sizes.prefix(shape.count).map { Int(exactly: $0) ?? Int.max }
        guard Int(rank) == shape.count, zip(chunk, shape).allSatisfy({ 1 <= $0 && $0 <= $1 }) else {
            problems.format("\(name): chunks larger than the array, or damaged; re-save without chunks")
            return nil
        }
        let number = zip(shape, chunk).map { ($0 + $1 - 1) / $1 }.reduce(1, *)
        guard number <= StoredArray.mostChunks else {
            problems.format("\(name): \(number) chunks, more than \(StoredArray.mostChunks); re-save without chunks")
            return nil
        }
        var options: UInt32 = 0
        guard H5Pget_chunk_opts(creation.id, &options) >= 0, options == 0 else {
            problems.format("\(name): edge chunks without filters; re-save without chunks")
            return nil
        }
        guard let filters = filters(creation, type: type, problems: &problems) else { return nil }
        return StoredArray.Chunks(shape: chunk, filters: filters)
    }

    private func filters(
        _ creation: HDF5Object, type: ElementType, problems: inout Problems
    ) -> [StoredArray.Filter]? {
        let advice = "re-save with gzip or without compression"
        let count = H5Pget_nfilters(creation.id)
        var filters: [StoredArray.Filter] = []
        for index in 0..<UInt32(max(0, min(count, 32))) {
            var flags: UInt32 = 0
            var values = [UInt32](repeating: 0, count: 8)
            var valueCount = values.count
            let id = H5Pget_filter2(creation.id, index, &flags, &valueCount, &values, 0, nil, nil)
            guard let filter = UInt32(exactly: id).flatMap(StoredArray.Filter.init) else {
                problems.format("\(name): compressed with \(Description.filterName(id)), which is refused; \(advice)")
                return nil
            }
            guard !filters.contains(filter) else {
                problems.format("\(name): one filter twice; \(advice)")
                return nil
            }
            if filter == .shuffle, valueCount < 1 || values[0] != UInt32(type.size) {
                problems.format("\(name): shuffled by another size than its type's; \(advice)")
                return nil
            }
            filters.append(filter)
        }
        guard count == filters.count else {
            problems.format("\(name): its filters are damaged; \(advice)")
            return nil
        }
        return filters
    }

    private static func filterName(_ id: Int32) -> String {
        switch id {
        case 4: "szip"
        case 5: "nbit"
        case 6: "scaleoffset"
        case 32000: "lzf"
        case 32001: "blosc"
        case 32004: "lz4"
        case 32008: "bitshuffle"
        case 32015: "zstd"
        default: "filter \(id)"
        }
    }
}
