# Out of libFuzzer's control file of a merge: the files that together reach the most code, each the one that adds most.
# At most 50 files and 80 kB, so that all corpora together stay small.
NR == 1 { count = $1 }
NR > 2 && NR <= count + 2 { name[NR - 3] = $0 }
$1 == "STARTED" { size[$2] = $3 }
$1 == "FT" { for (i = 3; i <= NF; i++) reaches[$2] = reaches[$2] " " $i }
END {
  while (files++ < 50) {
    best = ""
    for (file = 0; file < count; file++) {
      if (file in taken || bytes + size[file] > 80000) continue
      adds = 0
      long = split(reaches[file], places, " ")
      for (i = 1; i <= long; i++) adds += !(places[i] in reached)
      if (adds > 0 && (best == "" || adds > most)) { best = file; most = adds }
    }
    if (best == "") break
    taken[best]
    bytes += size[best]
    long = split(reaches[best], places, " ")
    for (i = 1; i <= long; i++) reached[places[i]]
    print name[best]
  }
}
