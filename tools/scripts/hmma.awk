# Reads what NAK, Mesa's compiler for NVIDIA, prints of kernels with NAK_DEBUG=print, and fails unless a loop of some kernel has 32
# instructions of matrix cores, and these with the loads for them are 60 % of it.
/NAK IR after / { final = /calc_instr_deps/ }
final && /^ *block/ { hmma = loads = all = 0 }
final && /delay=/ { all++; hmma += /hmma/; loads += /ldsm|ld\.shared|ld\.global/ }
final && /^ *}/ && hmma >= 32 && 100 * (hmma + loads) / all > share { share = 100 * (hmma + loads) / all }
END {
	printf "%s: matrix cores and their loads are %d %% of the inner loop of a product\n", chip, share
	exit share < 60
}
