// Package descriptors closes open files of which only the descriptors are known.
package descriptors
