"""Suffixes of files that are read or written; apart from what reads and writes them, which is slow to import."""

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
DRAWN_SUFFIXES = (*FIGURE_SUFFIXES, ".dcm")
VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
DICOM_SUFFIXES = (".dcm", ".ima")  # which DICOM may lack
XRAY_SUFFIXES = (*DICOM_SUFFIXES, ".png", ".tif", ".tiff")
WRITTEN_XRAY_SUFFIXES = (".dcm", ".png", ".tif", ".tiff")
MESH_SUFFIXES = (".stl", ".ply", ".obj")
