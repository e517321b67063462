# Evaluated, and built for x86_64-linux with stand-ins for all of nixpkgs but its `lib`; never built with nixpkgs itself
# (docs/dependencies.md, "Nix").
{
  description = "Anabranch: a peer-to-peer mesh that stores versioned objects and joins offline branches without losing one";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      lib = nixpkgs.lib;
      forEachSystem =
        make:
        lib.genAttrs [
          "aarch64-darwin"
          "aarch64-linux"
          "x86_64-linux"
        ] (system: make nixpkgs.legacyPackages.${system});
      inherit (lib.importJSON ./package.json) version description;
      lockfile = lib.importJSON ./package-lock.json;

      # Where the public registry has a package. The lockfile names no registry, but pins version and hash. A package
      # that is installed under another name has its own in `name`.
      addressOf =
        at: entry:
        let
          name = entry.name or (lib.last (lib.splitString "node_modules/" at));
        in
        "https://registry.npmjs.org/${name}/-/${baseNameOf name}-${entry.version}.tgz";

      # Whether npm installs a package on a system; one that names no `os`, `cpu` or `libc` suits them all.
      suits =
        { node, libc, ... }:
        entry:
        lib.elem node.platform (entry.os or [ node.platform ])
        && lib.elem node.arch (entry.cpu or [ node.arch ])
        && lib.elem libc (entry.libc or [ libc ]);

      # The lockfile with every package of the system at a path in the Nix store, as `importNpmLock` of nixpkgs makes it
      # from a lockfile that names addresses. Nix fetches each by the hash that npm wrote, so no hash stands here.
      # Only optional packages can lack one (docs/dependencies.md): npm, which is offline then, goes without them.
      lockfileFor =
        pkgs:
        let
          tarball =
            at: entry:
            pkgs.fetchurl {
              url = addressOf at entry;
              hash = entry.integrity;
            };
          goesWithout =
            at: "anabranch goes without ${at}: package-lock.json has no hash for it; `npm run dependencies` adds it";
          withTarball =
            at: entry:
            if at == "" || !suits pkgs.stdenv.hostPlatform entry then
              entry
            else if entry ? integrity then
              entry // { resolved = "file:${tarball at entry}"; }
            else
              lib.warnIfNot (entry.dev or false) (goesWithout at) entry;
        in
        pkgs.writeText "package-lock.json" (
          builtins.toJSON (lockfile // { packages = lib.mapAttrs withTarball lockfile.packages; })
        );

      packageFor =
        pkgs:
        pkgs.stdenv.mkDerivation {
          pname = "anabranch";
          inherit version;
          src = self;
          strictDeps = true;
          nativeBuildInputs = [
            pkgs.makeWrapper
            pkgs.nodejs_24
          ]
          ++ lib.optional pkgs.stdenv.hostPlatform.isLinux pkgs.autoPatchelfHook;
          # The prebuilt addons of lmdb, msgpackr-extract and blake-hash ask for libstdc++ and libgcc_s.
          buildInputs = lib.optional pkgs.stdenv.hostPlatform.isLinux (lib.getLib pkgs.stdenv.cc.cc);
          # No install scripts: they fetch a Node.js that Nix has already, and probe prebuilt addons.
          buildPhase = ''
            runHook preBuild
            export HOME=$TMPDIR
            cp ${lockfileFor pkgs} package-lock.json
            npm ci --offline --ignore-scripts --no-audit --no-fund
            node .ci/build.ts
            npm prune --omit=dev --offline --ignore-scripts --no-audit --no-fund
            runHook postBuild
          '';
          # npm's own note names every tarball, and would keep them all alive. Addons for musl find no libc here. The
          # program keeps compiled modules in its own folder, which in the Nix store must not change.
          installPhase = ''
            runHook preInstall
            rm node_modules/.package-lock.json
            find node_modules -name '*.musl.node' -delete
            mkdir -p $out/lib/anabranch
            cp -r dist node_modules package.json $out/lib/anabranch
            makeWrapper ${lib.getExe pkgs.nodejs_24} $out/bin/anabranch \
              --add-flags $out/lib/anabranch/dist/src/cli/main.js \
              --set NODE_DISABLE_COMPILE_CACHE 1
            runHook postInstall
          '';
          dontStrip = true;
          meta = {
            inherit description;
            license = lib.licenses.asl20;
            mainProgram = "anabranch";
          };
        };
    in
    {
      # `nix develop`: Node.js 24 and git. The npm scripts install the rest and, since no install script brings the
      # pinned Node.js here, run on this one. The linter is a prebuilt program: NixOS needs nix-ld for it.
      devShells = forEachSystem (pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.git
            pkgs.nodejs_24
          ];
          npm_config_ignore_scripts = "true";
        };
      });

      # `nix build`: the compiled program with its production dependencies.
      packages = forEachSystem (pkgs: {
        default = packageFor pkgs;
      });
    };
}
