import CHDF5
import DimRuntime
import Glibc

/// Writes an HDF5 file in which a checksum covers every byte that matters: libhdf5's own over all metadata (the v110
/// format), fletcher32 over every chunk of data; scalars are stored in their headers, under the metadata's. The same
/// weights give the same bytes: no times are stored.
struct WeightsWriter {
    /// Bytes of a chunk at most: checked and copied while they are in the L2 cache.
    private static let chunkBytes = 512 * 1024

    private let path: FilePath
    private let driver: FileDriver
    private var scratch = ByteBuffer()

    /// Writes to an open, empty file.
    static func write(
        _ state: StateDict, extra: [String: NamedArray], to descriptor: Int32, path: FilePath
    ) throws {
        try HDF5.exclusively {
            guard let driver = FileDriver(descriptor: descriptor, size: 0) else {
                throw DimError(.internal, "libhdf5 refuses the file driver: \(HDF5.lastReason)")
            }
            // The file's callbacks use the driver until its last handle is closed.
            try withExtendedLifetime(driver) {
                var writer = WeightsWriter(path: path, driver: driver)
                do {
                    try writer.writeFile(state, extra)
                } catch let error as DimError where error.code == .internal && driver.failure != 0 {
                    throw ioError("cannot write \(path)", driver.failure)
                }
                guard driver.failure == 0 else { throw ioError("cannot write \(path)", driver.failure) }
            }
        }
    }

    private init(path: FilePath, driver: FileDriver) {
        self.path = path
        self.driver = driver
    }

    private func failed(_ what: String) -> DimError {
        let reason = HDF5.lastReason
        return DimError(HDF5.lackedMemory ? .outOfMemory : .internal, "cannot write \(path): \(what): \(reason)")
    }

    private mutating func writeFile(_ state: StateDict, _ extra: [String: NamedArray]) throws {
        guard let creation = HDF5Object(dim_h5_file_creation()),
            H5Pset_libver_bounds(driver.access.id, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0,
            WeightsWriter.prepareGroup(creation, links: state.specs.count + 1),
            let file = HDF5Object(H5Fcreate("weights", dim_h5_truncate(), creation.id, driver.access.id))
        else { throw failed("the file") }

        for label in FileLabels.texts(state) { try writeAttribute(file, label.name, label.text) }
        for (spec, value) in zip(state.specs, state.values) {
            // A file that could not be opened again must not replace one that can.
            if let fault = ParameterRules.fault(spec, value) {
                throw DimError(.notFinite, "cannot save to \(path): \(fault)")
            }
            switch value {
            case .floats(let buffer):
                try write(file, spec.name, .float32, spec.shape, UnsafeRawBufferPointer(buffer.bufferPointer))
            case .counter(let count):
                try withUnsafeBytes(of: count) { try write(file, spec.name, .int64, [], $0) }
            }
        }
        if !extra.isEmpty { try writeExtra(file, extra) }
        try HDF5.requireRoom()
        guard H5Fflush(file.id, H5F_SCOPE_GLOBAL) >= 0 else { throw failed("the end") }
        guard file.close() else { throw failed("closing") }
    }

    /// All names of a group in its header, under one checksum, for as many as we write.
    private static func prepareGroup(_ creation: HDF5Object, links: Int) -> Bool {
        H5Pset_link_phase_change(creation.id, 4096, 4095) >= 0
            && H5Pset_est_link_info(creation.id, UInt32(min(links, 1000)), 40) >= 0
            && H5Pset_obj_track_times(creation.id, false) >= 0
    }

    private mutating func writeExtra(_ file: HDF5Object, _ extra: [String: NamedArray]) throws {
        guard let creation = HDF5Object(dim_h5_group_creation()),
            WeightsWriter.prepareGroup(creation, links: extra.count),
            let group = HDF5Object(
                H5Gcreate2(file.id, Catalog.checkpointGroup, dim_h5_default(), creation.id, dim_h5_default()))
        else { throw failed(Catalog.checkpointGroup) }
        for (name, array) in extra.sorted(by: { $0.key < $1.key }) {
            switch array {
            case .float32(let buffer, let shape): try writeFloats(group, name, buffer, shape)
            case .float64(let values, let shape):
                try values.withUnsafeBytes { try write(group, name, .float64, shape, $0) }
            case .int64(let values, let shape):
                try values.withUnsafeBytes { try write(group, name, .int64, shape, $0) }
            case .uint32(let values, let shape):
                try values.withUnsafeBytes { try write(group, name, .uint32, shape, $0) }
            case .text(let text): try writeText(group, name, text)
            }
        }
    }

    private mutating func writeFloats(_ parent: HDF5Object, _ name: String, _ buffer: Buffer, _ shape: [Int]) throws {
        guard ParameterRules.areFinite(buffer.pointer, count: buffer.count) else {
            throw DimError(.notFinite, "cannot save to \(path): \(name) holds values that are NaN or infinite")
        }
        try write(parent, name, .float32, shape, UnsafeRawBufferPointer(buffer.bufferPointer))
    }

    private mutating func write(
        _ parent: HDF5Object, _ name: String, _ type: ElementType, _ shape: [Int], _ data: UnsafeRawBufferPointer
    ) throws {
        guard let base = data.baseAddress, data.count == shape.reduce(type.size, *), !name.contains("/") else {
            throw DimError(.internal, "cannot write \(path): \(name) is not of shape \(describe(shape: shape))")
        }
        let chunk = WeightsWriter.chunk(of: shape, size: type.size)
        _ = try scratch.reserve(chunk.reduce(type.size, *) + 4)
        try HDF5.requireRoom()  // With the memory for a chunk taken already.
        let sizes = shape.map(hsize_t.init)
        let space =
            shape.isEmpty
            ? HDF5Object(H5Screate(H5S_SCALAR)) : HDF5Object(H5Screate_simple(Int32(shape.count), sizes, nil))
        guard let space, let fileType = type.make() else { throw failed(name) }
        let dataset = try make(parent, name, fileType, space, chunk: chunk)
        if shape.isEmpty {
            let all = dim_h5_whole_space()
            guard H5Dwrite(dataset.id, fileType.id, all, all, dim_h5_default(), base) >= 0 else { throw failed(name) }
        } else {
            try writeChunks(dataset, name, base, shape, chunk, size: type.size)
        }
        // Early, before all of the rest is dropped on a full disk.
        guard driver.failure == 0 else { throw failed(name) }
    }

    private func make(
        _ parent: HDF5Object, _ name: String, _ type: HDF5Object, _ space: HDF5Object, chunk: [Int]
    ) throws -> HDF5Object {
        guard let creation = HDF5Object(dim_h5_dataset_creation()),
            H5Pset_obj_track_times(creation.id, false) >= 0,
            H5Pset_fill_time(creation.id, H5D_FILL_TIME_NEVER) >= 0
        else { throw failed(name) }
        let isLaidOut =
            chunk.isEmpty
            ? H5Pset_layout(creation.id, H5D_COMPACT) >= 0
            : H5Pset_chunk(creation.id, Int32(chunk.count), chunk.map(hsize_t.init)) >= 0
                && H5Pset_fletcher32(creation.id) >= 0
        guard isLaidOut,
            let dataset = HDF5Object(
                H5Dcreate2(parent.id, name, type.id, space.id, dim_h5_default(), creation.id, dim_h5_default()))
        else { throw failed(name) }
        return dataset
    }

    /// Chunks over whole trailing axes, cut along the first axis that makes them small enough, into equal parts.
    static func chunk(of shape: [Int], size: Int) -> [Int] {
        var chunk = shape
        for axis in shape.indices {
            let below = chunk[(axis + 1)...].reduce(size, *)
            guard chunk[axis] * below > chunkBytes else { break }
            let most = max(1, chunkBytes / below)
            let parts = (shape[axis] + most - 1) / most
            chunk[axis] = (shape[axis] + parts - 1) / parts
        }
        return chunk
    }

    /// Chunks are 1 along the axes before the cut and whole along those behind it, so that each is one run of the data.
    private mutating func writeChunks(
        _ dataset: HDF5Object, _ name: String, _ data: UnsafeRawPointer, _ shape: [Int], _ chunk: [Int], size: Int
    ) throws {
        let cut = chunk.firstIndex { $0 > 1 } ?? shape.count - 1
        let tail = chunk[(cut + 1)...].reduce(size, *)
        let bytes = chunk[cut] * tail
        let rows = shape[..<cut].reduce(1, *)
        let memory = try scratch.reserve(bytes + 4)
        for row in 0..<rows {
            var offset = [hsize_t](repeating: 0, count: shape.count)
            var rest = row
            for axis in (0..<cut).reversed() {
                offset[axis] = hsize_t(rest % shape[axis])
                rest /= shape[axis]
            }
            for start in stride(from: 0, to: shape[cut], by: chunk[cut]) {
                let used = min(chunk[cut], shape[cut] - start) * tail
                memcpy(memory, data + (row * shape[cut] + start) * tail, used)
                memset(memory + used, 0, bytes - used)
                let sum = Fletcher32.checksum(UnsafeRawBufferPointer(start: memory, count: bytes))
                memory.storeBytes(of: sum.littleEndian, toByteOffset: bytes, as: UInt32.self)
                offset[cut] = hsize_t(start)
                guard H5Dwrite_chunk(dataset.id, dim_h5_default(), 0, offset, bytes + 4, memory) >= 0,
                    driver.failure == 0
                else { throw failed(name) }
            }
        }
    }

    /// A scalar string of a fixed length.
    private func writeAttribute(_ file: HDF5Object, _ name: String, _ text: String) throws {
        let bytes = Array(text.utf8)
        guard let type = stringType(bytes.count), let space = HDF5Object(H5Screate(H5S_SCALAR)),
            let attribute = HDF5Object(
                H5Acreate2(file.id, name, type.id, space.id, dim_h5_default(), dim_h5_default())),
            H5Awrite(attribute.id, type.id, bytes) >= 0
        else { throw failed("attribute \(name)") }
    }

    /// UTF-8, padded with NUL.
    private func stringType(_ bytes: Int) -> HDF5Object? {
        guard let type = HDF5Object(H5Tcopy(dim_h5_string())), H5Tset_size(type.id, bytes) >= 0,
            H5Tset_strpad(type.id, H5T_STR_NULLPAD) >= 0, H5Tset_cset(type.id, H5T_CSET_UTF8) >= 0
        else { return nil }
        return type
    }

    private func writeText(_ parent: HDF5Object, _ name: String, _ text: String) throws {
        guard text.utf8.count <= TextArray.most, !text.utf8.contains(0), !name.contains("/") else {
            throw DimError(.internal, "cannot write \(path): \(name) is too long, or holds a NUL")
        }
        // A string of no characters is one NUL of padding.
        var bytes = Array(text.utf8)
        if bytes.isEmpty { bytes = [0] }
        guard let type = stringType(bytes.count), let space = HDF5Object(H5Screate(H5S_SCALAR))
        else { throw failed(name) }
        let dataset = try make(parent, name, type, space, chunk: [])
        let all = dim_h5_whole_space()
        guard H5Dwrite(dataset.id, type.id, all, all, dim_h5_default(), bytes) >= 0 else { throw failed(name) }
    }
}
