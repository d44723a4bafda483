run proc { [200, { 'Content-Type' => 'text/plain' }, ["Rack of #{ENV['OPENSHIFT_APP_NAME']}\n"]] }
