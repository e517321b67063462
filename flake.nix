{
  description = "Anabranch: a peer-to-peer mesh that stores versioned objects and joins offline branches without losing one";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      lib = nixpkgs.lib;

      # The hash of `node_modules`, which holds different native packages on each system. The lockfile names no
      # registry, so npm itself fetches them and Nix checks the result. After a change of the lockfile, set these
      # back to `lib.fakeHash`: `nix build` then fails and prints the hash to write here.
      dependencyHashes = {
        aarch64-darwin = lib.fakeHash;
        aarch64-linux = lib.fakeHash;
        x86_64-darwin = lib.fakeHash;
        x86_64-linux = lib.fakeHash;
      };
      forEachSystem =
        make: lib.mapAttrs (system: hash: make nixpkgs.legacyPackages.${system} hash) dependencyHashes;
      inherit (lib.importJSON ./package.json) version description;

      dependenciesFor =
        pkgs: hash:
        pkgs.stdenvNoCC.mkDerivation {
          pname = "anabranch-dependencies";
          inherit version;
          src = lib.fileset.toSource {
            root = ./.;
            fileset = lib.fileset.unions [
              ./.ci/complete-lockfile.mjs
              ./.npmrc
              ./package.json
              ./package-lock.json
            ];
          };
          nativeBuildInputs = [
            pkgs.cacert
            pkgs.nodejs_24
          ];
          # No install scripts: they fetch a Node.js that Nix has already, and probe prebuilt addons.
          buildPhase = ''
            export HOME=$TMPDIR
            npm ci --ignore-scripts --no-audit --no-fund
          '';
          installPhase = "cp -r node_modules $out";
          dontFixup = true;
          outputHashMode = "recursive";
          outputHashAlgo = "sha256";
          outputHash = hash;
        };

      packageFor =
        pkgs: hash:
        pkgs.stdenv.mkDerivation {
          pname = "anabranch";
          inherit version;
          src = self;
          nativeBuildInputs = [
            pkgs.makeWrapper
            pkgs.nodejs_24
          ];
          buildPhase = ''
            export HOME=$TMPDIR
            cp -r ${dependenciesFor pkgs hash} node_modules
            chmod -R u+w node_modules
            node .ci/build.ts
            npm prune --omit=dev --ignore-scripts --offline --no-audit --no-fund
          '';
          installPhase = ''
            mkdir -p $out/lib/anabranch $out/bin
            cp -r dist node_modules package.json $out/lib/anabranch
            makeWrapper ${lib.getExe pkgs.nodejs_24} $out/bin/anabranch \
              --add-flags $out/lib/anabranch/dist/src/cli/main.js
          '';
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
      devShells = forEachSystem (
        pkgs: _hash: {
          default = pkgs.mkShell {
            packages = [
              pkgs.git
              pkgs.nodejs_24
            ];
            npm_config_ignore_scripts = "true";
          };
        }
      );

      # `nix build`: the compiled program with its production dependencies.
      packages = forEachSystem (pkgs: hash: { default = packageFor pkgs hash; });
    };
}
