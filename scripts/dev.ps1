# Brings a Windows machine with Rust and Python to a running Solo. UNTESTED: written with care, run by nobody yet.
#
#   scripts\dev.ps1 up [--detach]    build, fetch models, start
#   scripts\dev.ps1 test             everything the project checks of itself
#   scripts\dev.ps1 solo ARGS...     the built command line
#
# Needs beforehand: Visual Studio's C++ build tools, CMake, LLVM (for libclang), protoc. winget names them:
#   winget install Microsoft.VisualStudio.2022.BuildTools Kitware.CMake LLVM.LLVM Google.Protobuf
param([string]$Command = "help", [Parameter(ValueFromRemainingArguments = $true)][string[]]$Rest)
$ErrorActionPreference = "Stop"
Set-Location (Join-Path $PSScriptRoot "..")

if (-not $env:CARGO_TARGET_DIR) { $env:CARGO_TARGET_DIR = Join-Path $env:LOCALAPPDATA "solo\target" }
if (-not $env:SOLO_PROFILE) { $env:SOLO_PROFILE = "dev" }
$folder = if ($env:SOLO_PROFILE -eq "dev") { "debug" } else { $env:SOLO_PROFILE }
$solo = Join-Path $env:CARGO_TARGET_DIR "$folder\solo.exe"

function Invoke-Checked([string]$Program, [string[]]$Arguments) {
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
}

function Assert-Tool([string]$Name, [string]$Remedy) {
    if (-not (Get-Command $Name -ErrorAction SilentlyContinue)) {
        [Console]::Error.WriteLine("error: $Name is not installed`n  help: $Remedy")
        exit 1
    }
}

function Initialize-Tools {
    if (-not (Test-Path $solo)) {
        Write-Host "The first build takes 10-20 minutes on two cores, 8 GB of disk and 4 GB of memory; models take another 0.8 GB."
    }
    Assert-Tool cargo "install Rust: https://rustup.rs"
    Assert-Tool python "winget install Python.Python.3.12"
    Assert-Tool cmake "winget install Kitware.CMake"
    Assert-Tool clang "winget install LLVM.LLVM"
    Assert-Tool protoc "winget install Google.Protobuf"
}

function Build-Solo {
    Invoke-Checked cargo @("build", "--workspace", "--all-targets", "--locked", "--profile", $env:SOLO_PROFILE)
}

switch ($Command) {
    "up" {
        Initialize-Tools
        Build-Solo
        Invoke-Checked $solo @("models", "pull")
        Invoke-Checked $solo (@("up") + $Rest)
    }
    "test" {
        Initialize-Tools
        if (-not (Get-Command cargo-make -ErrorAction SilentlyContinue)) {
            Invoke-Checked cargo @("install", "--quiet", "--locked", "--version", "0.37.24", "cargo-make")
        }
        Invoke-Checked cargo @("make", "ci")
    }
    "solo" {
        if (-not (Test-Path $solo)) { Initialize-Tools; Build-Solo }
        Invoke-Checked $solo $Rest
    }
    default { Get-Content $PSCommandPath -TotalCount 9 | ForEach-Object { $_ -replace '^# ?', '' } }
}
