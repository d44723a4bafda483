# OpenShift v2's SDK for cartridges that are written in Ruby.
require 'json'
require 'yaml'

module OpenShift
  module CartridgeSdk
    Cartridge = Struct.new(:vendor, :name, :version, :cartridge_version, :directory, :short_name)

    def self.home
      ENV['HOME'].to_s.chomp('/')
    end

    def self.primary_cartridge
      dir = ENV['OPENSHIFT_PRIMARY_CARTRIDGE_DIR'].to_s.chomp('/')
      file = Dir.glob(File.join(dir, 'env', 'OPENSHIFT_*_IDENT')).first
      raise 'the gear has no primary cartridge' if file.nil?
      ident = File.read(file).strip.split(':')
      short = File.basename(file)[/\AOPENSHIFT_(.*)_IDENT\z/, 1]
      Cartridge.new(ident[0], ident[1], ident[2], ident[3], dir, short)
    end

    def self.primary_cartridge_manifest
      YAML.load(File.read(File.join(primary_cartridge.directory, 'metadata', 'manifest.yml')))
    end

    # [gears of the web for each proxy, uuids of those that are both]
    def self.app_web_to_proxy_ratio_and_colocated_gears
      registry = JSON.parse(File.read(File.join(home, 'gear-registry', 'gear-registry.json')))
      web = registry.fetch('web', {}).keys
      proxy = registry.fetch('proxy', {}).keys
      ratio = proxy.empty? ? 0 : (web.length.to_f / proxy.length).round
      [ratio, web & proxy]
    end

    Metadata = Struct.new(:git_ref, :git_sha1, :id, :hot_deploy, :force_clean_build, :activations, :checksum)

    def self.latest_deployment_metadata
      dirs = Dir.glob(File.join(ENV['OPENSHIFT_DEPLOYMENTS_DIR'].to_s, '20*')).sort
      file = dirs.empty? ? nil : File.join(dirs.last, 'metadata.json')
      data = file && File.file?(file) ? JSON.parse(File.read(file)) : { 'git_ref' => 'master', 'activations' => [] }
      Metadata.new(*Metadata.members.map { |m| data[m.to_s] })
    end

    # The values of OPENSHIFT_*_<name>, the primary cartridge's first.
    def self.get_path_from_elements(name)
      first = "OPENSHIFT_#{primary_cartridge.name.upcase}_#{name}"
      others = ENV.keys.select { |k| k.start_with?('OPENSHIFT_') && k.end_with?("_#{name}") && k != first }
      others.reject! { |k| k.end_with?('_LD_LIBRARY_PATH_ELEMENT') } if name == 'PATH_ELEMENT'
      ([first] + others.sort).map { |k| ENV[k] }.reject { |v| v.nil? || v.empty? }.join(':')
    end
  end
end
