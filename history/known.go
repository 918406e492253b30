package history

import (
	"regexp"
	"slices"
	"strings"
)

// A platform is a well-known image that others are built on, and that has no CMD
// by which its end is found. Names of variables and files are those of its
// Dockerfile, which has been published for years.
type platform struct {
	name    string
	version *regexp.Regexp // the variable that its Dockerfile sets before it installs
	install *regexp.Regexp // what the first layer behind that says
	more    *regexp.Regexp // what the further layers up to its end say; nil: there is none
	end     *regexp.Regexp // its last entry, where the children's own lines look like its others; nil: the last that more fits
}

var platforms = []platform{
	// docker-library/openjdk, adoptium/containers, corretto/corretto-docker.
	{
		name:    "a Java image",
		version: regexp.MustCompile(`^JAVA_VERSION$`),
		install: regexp.MustCompile(`(?i)java|jdk|jre`),
		more:    regexp.MustCompile(`ca-certificates-java|docker-java-home|Verifying install|java -version|java --version|__cacert_entrypoint|libfontconfig1 &&`),
	},
	// docker-library/golang.
	{
		name:    "a Go image",
		version: regexp.MustCompile(`^GOLANG_VERSION$`),
		install: regexp.MustCompile(`(?i)golang|/usr/local/go|/target/`),
		end:     regexp.MustCompile(`^WORKDIR \[?/go\]?$`),
	},
	// rust-lang/docker-rust: one RUN.
	{
		name:    "a Rust image",
		version: regexp.MustCompile(`^RUST_VERSION$`),
		install: regexp.MustCompile(`rustup-init`),
	},
	// dotnet/dotnet-docker: runtime, aspnet and sdk stand on each other.
	{
		name:    "a .NET image",
		version: regexp.MustCompile(`^(DOTNET_VERSION|ASPNET_VERSION|DOTNET_SDK_VERSION)$`),
		install: regexp.MustCompile(`(?i)dotnet`),
		more:    regexp.MustCompile(`/usr/share/dotnet/dotnet /usr/bin/dotnet|^COPY /dotnet |/usr/share/powershell`),
	},
	// nvidia/container-images/cuda: base, runtime and devel stand on each other.
	{
		name:    "a CUDA image",
		version: regexp.MustCompile(`^CUDA_VERSION$|^NV_CUDA_LIB_VERSION$|^NV_CUDNN_VERSION$`),
		install: regexp.MustCompile(`NV_|cuda-`),
		more:    regexp.MustCompile(`NV_|/usr/local/nvidia/lib|^COPY NGC-DL-CONTAINER-LICENSE|nvidia_entrypoint`),
	},
}

// longestPlatform is the most entries in which a platform's Dockerfile, from its
// version on, is looked for.
const longestPlatform = 40

// knownEnd is the end of a well-known image whose version entry i sets, and
// what image that is; 0 where it sets none.
func knownEnd(ins []Instruction, i int) (int, string) {
	k := slices.IndexFunc(platforms, func(p platform) bool { return setsVariable(ins[i], p.version) })
	if k < 0 {
		return 0, ""
	}
	p := platforms[k]
	ins = ins[:min(len(ins), i+longestPlatform)]
	j := i + 1
	for j < len(ins) && ins[j].Layer < 0 {
		j++
	}
	if j == len(ins) || !p.install.MatchString(ins[j].Text) {
		return 0, ""
	}
	end := j + 1
	for j++; j < len(ins); j++ {
		switch text := ins[j].Text; {
		case p.end != nil:
			if p.end.MatchString(text) {
				return j + 1, p.name
			}
		case p.more != nil && p.more.MatchString(text):
			end = j + 1
		case ins[j].Layer >= 0:
			return end, p.name
		}
	}
	if p.end != nil {
		return 0, ""
	}
	return end, p.name
}

func setsVariable(in Instruction, name *regexp.Regexp) bool {
	return in.Set != nil && in.Set.Name == "ENV" && slices.ContainsFunc(in.Set.Pairs, func(kv Pair) bool { return name.MatchString(kv.Key) })
}

// buildpackEnd is the end of buildpack-deps, on which docker-library builds its
// languages, above a distribution that ends before entry i; 0 where it isn't
// there. Its variants stand on each other (docker-library/buildpack-deps): curl,
// in one or two layers; scm; and the last, with what a compiler needs.
func buildpackEnd(ins []Instruction, i int) int {
	if i == 0 {
		return 0
	}
	end := 0
	for _, layer := range buildpackLayers {
		if i < len(ins) && ins[i].Name == "RUN" && layer.installedBy(ins[i].Text) {
			i++
			end = i
		} else if !layer.optional {
			break
		}
	}
	return end
}

// A buildpackLayer is what a RUN of buildpack-deps says.
type buildpackLayer struct {
	packages string // some of what it installs
	only     bool   // nothing else but curlVariant
	optional bool
}

var buildpackLayers = []buildpackLayer{
	{packages: "ca-certificates curl wget", only: true},
	{packages: "gnupg dirmngr", optional: true},
	{packages: "git mercurial openssh-client subversion"},
	{packages: "autoconf automake bzip2 file g++ gcc imagemagick libtool make patch"},
}

// curlVariant are further packages of buildpack-deps:curl, which came and went.
var curlVariant = []string{"gnupg", "netbase", "sq", "tzdata", "dirmngr"}

// installedBy tells whether a RUN is the one that makes the layer.
func (l buildpackLayer) installedBy(line string) bool {
	_, list, ok := strings.Cut(line, "--no-install-recommends")
	if !ok {
		return false
	}
	list, _, _ = strings.Cut(strings.NewReplacer("&&", ";", "\\\n", " ").Replace(list), ";")
	installed := strings.Fields(list)
	wanted := strings.Fields(l.packages)
	if slices.ContainsFunc(wanted, func(p string) bool { return !slices.Contains(installed, p) }) {
		return false
	}
	return !l.only || !slices.ContainsFunc(installed, func(p string) bool { return !slices.Contains(wanted, p) && !slices.Contains(curlVariant, p) })
}
