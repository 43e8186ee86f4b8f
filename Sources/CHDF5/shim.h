/* libhdf5 as Swift can see it: its macros as functions, and its differences between versions in one place. */
#ifndef DIM_CHDF5_SHIM_H
#define DIM_CHDF5_SHIM_H

#include <hdf5.h>
#include <stdint.h>
#include <string.h>

#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

/* ---- Constants that are macros with casts or calls --------------------------------------------------- */

static inline hid_t dim_h5_default(void) { return H5P_DEFAULT; }
static inline hid_t dim_h5_whole_space(void) { return H5S_ALL; }
static inline hid_t dim_h5_error_stack(void) { return H5E_DEFAULT; }
static inline haddr_t dim_h5_no_address(void) { return HADDR_UNDEF; }
static inline unsigned dim_h5_read_only(void) { return H5F_ACC_RDONLY; }
static inline unsigned dim_h5_truncate(void) { return H5F_ACC_TRUNC; }

static inline hid_t dim_h5_file_access(void) { return H5Pcreate(H5P_FILE_ACCESS); }
static inline hid_t dim_h5_file_creation(void) { return H5Pcreate(H5P_FILE_CREATE); }
static inline hid_t dim_h5_group_creation(void) { return H5Pcreate(H5P_GROUP_CREATE); }
static inline hid_t dim_h5_dataset_creation(void) { return H5Pcreate(H5P_DATASET_CREATE); }

static inline hid_t dim_h5_float32(int big) { return big ? H5T_IEEE_F32BE : H5T_IEEE_F32LE; }
static inline hid_t dim_h5_float64(int big) { return big ? H5T_IEEE_F64BE : H5T_IEEE_F64LE; }
static inline hid_t dim_h5_int32(int big) { return big ? H5T_STD_I32BE : H5T_STD_I32LE; }
static inline hid_t dim_h5_int64(int big) { return big ? H5T_STD_I64BE : H5T_STD_I64LE; }
static inline hid_t dim_h5_uint32(void) { return H5T_STD_U32LE; }
static inline hid_t dim_h5_string(void) { return H5T_C_S1; }

/* ---- Error handler and filter plugins: what a guest borrows ------------------------------------------ */

/* The host's settings. An error handler is of the old kind (1) or the new one (2). */
typedef struct dim_h5_host {
    int kind;
    H5E_auto1_t handler1;
    H5E_auto2_t handler2;
    void *data;
    unsigned plugins;
    int knows_plugins;
} dim_h5_host;

/* Notes the host's settings; then nothing prints and no plugin loads. */
static inline dim_h5_host dim_h5_enter(void) {
    dim_h5_host host;
    memset(&host, 0, sizeof host);
    unsigned is_new = 1;
    H5Eauto_is_v2(H5E_DEFAULT, &is_new);
    if (is_new ? H5Eget_auto2(H5E_DEFAULT, &host.handler2, &host.data) >= 0
               : H5Eget_auto1(&host.handler1, &host.data) >= 0)
        host.kind = is_new ? 2 : 1;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    host.knows_plugins = H5PLget_loading_state(&host.plugins) >= 0;
    H5PLset_loading_state(0);
    return host;
}

static inline void dim_h5_leave(dim_h5_host host) {
    if (host.knows_plugins)
        H5PLset_loading_state(host.plugins);
    H5Eclear2(H5E_DEFAULT);
    if (host.kind == 2)
        H5Eset_auto2(H5E_DEFAULT, host.handler2, host.data);
    else if (host.kind == 1)
        H5Eset_auto1(host.handler1, host.data);
}

/* ---- Attributes -------------------------------------------------------------------------------------- */

/* A conversion that changes nothing: the destination gets the bytes as they are stored. */
static inline herr_t dim_h5_convert_nothing(hid_t source, hid_t target, H5T_cdata_t *data, size_t n, size_t stride,
                                            size_t background, void *buffer, void *others, hid_t transfer) {
    (void)source, (void)target, (void)data, (void)n, (void)stride, (void)background, (void)buffer, (void)others,
        (void)transfer;
    return 0;
}

/* What a scalar string of variable length is in the file: its length (4 bytes), the address of a global heap's collection
 * (8), the index of an object in it (4); little-endian. `size` must be 16. */
static inline herr_t dim_h5_read_stored_string(hid_t attribute, void *out, size_t size) {
    static const char name[] = "libdim: strings as they are stored";
    herr_t status = -1;
    hid_t string = H5Aget_type(attribute), raw = H5Tcreate(H5T_OPAQUE, size);
    if (string >= 0 && raw >= 0 &&
        H5Tregister(H5T_PERS_SOFT, name, string, raw, dim_h5_convert_nothing) >= 0) {
        status = H5Aread(attribute, raw, out);
        if (H5Tunregister(H5T_PERS_SOFT, name, -1, -1, dim_h5_convert_nothing) < 0)
            status = -1;
    }
    if (raw >= 0)
        H5Tclose(raw);
    if (string >= 0)
        H5Tclose(string);
    return status;
}

/* What is added to an address for a place in the file. Fails where addresses and sizes are not of 8 bytes. */
static inline herr_t dim_h5_base_address(hid_t object, uint64_t *base) {
    herr_t status = -1;
    size_t addresses = 0, sizes = 0;
    hsize_t block = 0;
    hid_t file = H5Iget_file_id(object), creation = file >= 0 ? H5Fget_create_plist(file) : -1;
    if (creation >= 0 && H5Pget_sizes(creation, &addresses, &sizes) >= 0 && addresses == 8 && sizes == 8 &&
        H5Pget_userblock(creation, &block) >= 0)
        status = 0;
    *base = block;
    if (creation >= 0)
        H5Pclose(creation);
    if (file >= 0)
        H5Fclose(file);
    return status;
}

/* ---- Groups and their links -------------------------------------------------------------------------- */

static inline hid_t dim_h5_open_root(hid_t file) { return H5Gopen2(file, "/", H5P_DEFAULT); }

/* name; whether the link is a hard one; data. Returns 0 to continue, 1 to stop. */
typedef int (*dim_h5_link_visitor)(const char *name, int hard, void *data);

typedef struct dim_h5_visit {
    dim_h5_link_visitor visitor;
    void *data;
} dim_h5_visit;

#if H5_VERSION_GE(1, 12, 0)
static inline herr_t dim_h5_visit_link(hid_t group, const char *name, const H5L_info2_t *info, void *data) {
#else
static inline herr_t dim_h5_visit_link(hid_t group, const char *name, const H5L_info_t *info, void *data) {
#endif
    (void)group;
    dim_h5_visit *visit = (dim_h5_visit *)data;
    return visit->visitor(name, info->type == H5L_TYPE_HARD, visit->data);
}

/* Shows every link of the group, in no particular order. Negative: the group is damaged.
 *
 * In any order but the native one, and always for a group with few links, libhdf5 1.10 first gathers a table of links;
 * where gathering fails it frees the whole table, the entries that it never filled in as well. So: the native order;
 * and before it a look-up of a name that no link has, which decodes every link of a small group without a table. */
static inline herr_t dim_h5_links(hid_t group, dim_h5_link_visitor visitor, void *data) {
    dim_h5_visit visit = {visitor, data};
    if (H5Lexists(group, " ", H5P_DEFAULT) < 0)
        return -1;
#if H5_VERSION_GE(1, 12, 0)
    return H5Literate2(group, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, dim_h5_visit_link, &visit);
#else
    return H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, dim_h5_visit_link, &visit);
#endif
}

/* ---- Chunks ------------------------------------------------------------------------------------------ */

/* Reads one chunk as it is stored. `capacity` must be what H5Dget_chunk_storage_size said. */
static inline herr_t dim_h5_read_chunk(hid_t dataset, const hsize_t *offset, uint32_t *mask, void *out, size_t capacity) {
#if H5_VERSION_GE(2, 0, 0)
    return H5Dread_chunk2(dataset, H5P_DEFAULT, offset, mask, out, &capacity);
#else
    (void)capacity;
    return H5Dread_chunk(dataset, H5P_DEFAULT, offset, mask, out);
#endif
}

/* ---- File driver ------------------------------------------------------------------------------------- */

/* A driver class without its callbacks. */
static inline H5FD_class_t dim_h5_driver_class(size_t settings_size) {
    H5FD_class_t driver;
    memset(&driver, 0, sizeof driver);
#if H5_VERSION_GE(1, 13, 0)
    driver.version = H5FD_CLASS_VERSION;
    driver.value = (H5FD_class_value_t)600; /* 512 and up are for programs outside the HDF Group's registry */
#endif
    driver.name = "libdim";
    driver.maxaddr = (haddr_t)INT64_MAX;
    driver.fc_degree = H5F_CLOSE_WEAK;
    driver.fapl_size = settings_size;
    const H5FD_mem_t map[H5FD_MEM_NTYPES] = H5FD_FLMAP_DICHOTOMY;
    memcpy(driver.fl_map, map, sizeof map);
    return driver;
}

static inline unsigned long dim_h5_driver_features(void) {
    return H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_AGGREGATE_SMALLDATA;
}

#endif
